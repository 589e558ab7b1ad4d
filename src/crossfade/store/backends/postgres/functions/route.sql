-- Who may write: the side that has the authority, and a writer that knows the present epoch.

-- Let a writer of a kind in, until its transaction ends; a cut-over waits for it, or has it wait.
CREATE OR REPLACE FUNCTION {schema}.admit(tree integer, asked text) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    stated text := coalesce(current_setting('crossfade.epoch', true), '');
    found  {schema}.routes;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtext('crossfade route {schema}'), tree);
    IF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT * INTO found FROM {schema}.routes AS r
        WHERE r.store_id = tree AND r.kind IN (asked, '') ORDER BY r.kind DESC LIMIT 1;
    ELSE  -- the snapshot may be older than the lock: what changed since is to be refused, not overlooked
        SELECT * INTO found FROM {schema}.routes AS r
        WHERE r.store_id = tree AND r.kind IN (asked, '') ORDER BY r.kind DESC LIMIT 1 FOR SHARE;
    END IF;
    IF found.authority IS DISTINCT FROM 'here' THEN
        RAISE EXCEPTION 'the authority for this tree is elsewhere'
            USING ERRCODE = 'XF002', HINT = coalesce(
                (SELECT 'write there: ' || p.control FROM {schema}.pointers AS p
                 WHERE p.store_id = tree AND p.route_epoch = found.epoch LIMIT 1),
                'write there, or hand the authority over: crossfade cutover ID'
            );
    END IF;
    IF stated <> '' AND stated <> found.epoch::text THEN
        RAISE EXCEPTION 'the epoch is % by now, not %', found.epoch, stated
            USING ERRCODE = 'XF003', HINT = 'the authority was handed over and back: read the route again, then crossfade.epoch';
    END IF;
END $body$;
