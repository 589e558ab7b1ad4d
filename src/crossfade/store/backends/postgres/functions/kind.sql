-- What can be done with the rows of one kind's table; made together with the table.

-- The last row of an entry: where its record starts, and its bytes; none for a long one.
CREATE OR REPLACE FUNCTION {schema}.{tail}(tree integer, entry bigint, OUT at bigint, OUT why text, OUT content bytea)
LANGUAGE plpgsql STABLE STRICT AS $body$
BEGIN
    SELECT t.pos, t.reason, coalesce(t.raw, convert_to(t.body::text, 'UTF8')) INTO at, why, content
    FROM {schema}.{kind} AS t WHERE t.store_id = tree AND t.entry_id = entry ORDER BY t.pos DESC LIMIT 1;
END $body$;

-- The records of an entry that start in [low, high), as bytes.
CREATE OR REPLACE FUNCTION {schema}.{content}(tree integer, entry bigint, low bigint, high bigint) RETURNS bytea
LANGUAGE plpgsql STABLE STRICT AS $body$
BEGIN
    RETURN (
        SELECT string_agg(r.data, ''::bytea ORDER BY r.pos) FROM (
            SELECT t.pos, coalesce(t.raw, convert_to(t.body::text, 'UTF8')) AS data
            FROM {schema}.{kind} AS t
            WHERE t.store_id = tree AND t.entry_id = entry AND t.pos >= low AND t.pos < high AND num_nonnulls(t.body, t.raw) > 0
            UNION ALL
            SELECT c.pos, c.data FROM {schema}.chunks AS c
            WHERE c.store_id = tree AND c.entry_id = entry AND c.pos >= low AND c.pos < high
        ) AS r
    );
END $body$;

-- The segments of an entry from one on, computed where the bytes are.
CREATE OR REPLACE FUNCTION {schema}.{sums}(tree integer, entry bigint, first integer)
RETURNS TABLE (number integer, pos bigint, size bigint, digest bytea)
LANGUAGE plpgsql STABLE STRICT AS $body$
BEGIN
    RETURN QUERY
        SELECT (r.pos / 1048576)::integer, min(r.pos), sum(octet_length(r.data))::bigint,
               sha256(string_agg(r.data, ''::bytea ORDER BY r.pos))
        FROM (
            SELECT t.pos, coalesce(t.raw, convert_to(t.body::text, 'UTF8')) AS data
            FROM {schema}.{kind} AS t
            WHERE t.store_id = tree AND t.entry_id = entry AND t.pos >= first * 1048576::bigint AND num_nonnulls(t.body, t.raw) > 0
            UNION ALL
            SELECT c.pos, c.data FROM {schema}.chunks AS c
            WHERE c.store_id = tree AND c.entry_id = entry AND c.pos >= first * 1048576::bigint
        ) AS r
        GROUP BY 1;
END $body$;

-- Take the records of an entry away, from one on; how many there were.
CREATE OR REPLACE FUNCTION {schema}.{clear}(tree integer, entry bigint, low bigint, OUT records bigint, OUT raws bigint)
LANGUAGE plpgsql STRICT AS $body$
BEGIN
    WITH gone AS (
        DELETE FROM {schema}.{kind} AS t WHERE t.store_id = tree AND t.entry_id = entry AND t.pos >= low RETURNING t.reason
    )
    SELECT count(*), count(gone.reason) INTO records, raws FROM gone;
END $body$;

CREATE OR REPLACE TRIGGER by_hand BEFORE INSERT OR UPDATE OR DELETE ON {schema}.{kind}
    FOR EACH STATEMENT WHEN (coalesce(current_setting('crossfade.origin', true), '') = '')
    EXECUTE FUNCTION {schema}.refuse_by_hand();
CREATE OR REPLACE TRIGGER not_at_once BEFORE TRUNCATE ON {schema}.{kind}
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_by_hand();
