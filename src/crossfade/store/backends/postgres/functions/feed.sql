-- The change feed: which entries are dirty. The reader applies an entry as it stands in its own snapshot, so a row says no
-- more than that something happened to it. Every change of content touches the entry's row, in the same transaction.

-- Note the entries of one statement, for trees whose feed is on.
-- Why there is no gap when it is turned on: that takes the writers' lock (see "guard") exclusively, so no transaction that has
-- written entries spans it; a later statement's lock, and with it this look at "fed", comes after. But a transaction that
-- keeps its snapshot may look with one from before: what was turned on since is to be refused (40001), not overlooked.
CREATE OR REPLACE FUNCTION {schema}.note_changes() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    trees integer[];
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        PERFORM FROM {schema}.stores AS s WHERE s.store_id IN (SELECT e.store_id FROM touched AS e) FOR SHARE OF s;
    END IF;
    trees := ARRAY(SELECT s.store_id FROM {schema}.stores AS s WHERE s.fed);
    IF trees = '{}' THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN  -- by hand only: what is removed leaves a tombstone
        INSERT INTO {schema}.changes (store_id, entry_id, key, origin)
        SELECT e.store_id, e.entry_id, e.key, coalesce(current_setting('crossfade.origin', true), '')
        FROM touched AS e WHERE e.store_id = ANY (trees);
    ELSE  -- an entry of generation 0 is a place that is being made, and will be noted again
        INSERT INTO {schema}.changes (store_id, entry_id, origin)
        SELECT e.store_id, e.entry_id, coalesce(current_setting('crossfade.origin', true), '')
        FROM touched AS e WHERE e.store_id = ANY (trees) AND e.generation > 0;
    END IF;
    IF FOUND THEN
        PERFORM {schema}.wake_readers(TG_TABLE_SCHEMA);
    END IF;
    RETURN NULL;
END $body$;

-- Wake those who LISTEN, at most ten times a second: transactions that notify commit one after the other, each with its own
-- flush, so that one for each write would cost eight writers three quarters of their rate. A reader that was woken reads again
-- after a tenth of a second. The sequence holds the time of the last one, in milliseconds, for all sessions and without a lock.
-- A server that takes prepared transactions refuses to prepare one that notifies: there readers look once a second by themselves.
CREATE OR REPLACE FUNCTION {schema}.wake_readers(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    now_ms  bigint := extract(epoch FROM clock_timestamp()) * 1000;
    last_ms bigint := (SELECT w.last_value FROM {schema}.wakes AS w);
BEGIN
    IF now_ms NOT BETWEEN last_ms AND last_ms + 100 AND current_setting('max_prepared_transactions') = '0' THEN
        PERFORM setval('{schema}.wakes', now_ms), pg_notify('crossfade', name);
    END IF;
END $body$;
