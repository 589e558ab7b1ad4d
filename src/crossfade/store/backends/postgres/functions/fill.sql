-- Write records into a kind's table, with the columns that one layout promotes: (store, entry, what its path captured, where
-- the first one starts, their bytes, and how to read them: log, document, blob, compressed, long).
CREATE OR REPLACE FUNCTION {schema}.{fill}(integer, bigint, jsonb, bigint, bytea, text, OUT records bigint, OUT raws bigint)
LANGUAGE plpgsql AS $body$
BEGIN
    WITH written AS (
        INSERT INTO {schema}.{kind} (store_id, entry_id, pos, {names}reason, body, raw)
        SELECT $1, $2, r.pos, {values}r.reason, r.body, r.raw
        FROM {schema}.records($5, $4, $6) AS r{joins}
        RETURNING reason
    )
    SELECT count(*), count(written.reason) INTO records, raws FROM written;
END $body$;
