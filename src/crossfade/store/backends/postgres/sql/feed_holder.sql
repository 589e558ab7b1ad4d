-- The oldest transaction that runs, in any database. Its age is hidden from a role without pg_read_all_stats; then the feed
-- tells how old it is at least: a transaction with a higher number noted something that long ago.
WITH oldest AS MATERIALIZED (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xid)
SELECT found.pid, coalesce(found.database, ''), coalesce(found.username, ''), coalesce(found.application, ''),
       extract(epoch FROM clock_timestamp() - coalesce(found.began, (
           SELECT min(noted.at) FROM {schema}.stores AS s CROSS JOIN LATERAL (
               SELECT c.at FROM {schema}.changes AS c
               WHERE c.store_id = s.store_id AND c.xid > (SELECT xid FROM oldest) ORDER BY c.xid, c.seq LIMIT 1
           ) AS noted
       )))::float8
FROM (
    SELECT a.pid, a.datname AS database, a.usename AS username, a.application_name AS application, a.xact_start AS began
    FROM pg_stat_activity AS a WHERE a.backend_xid = (SELECT xid::xid FROM oldest) AND a.pid <> pg_backend_pid()
    UNION ALL
    SELECT NULL, p.database, p.owner, 'prepared transaction ' || p.gid, p.prepared
    FROM pg_prepared_xacts AS p WHERE p.transaction = (SELECT xid::xid FROM oldest)
) AS found
LIMIT 1
