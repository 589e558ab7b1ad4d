-- Rows of the feed behind a cursor, of transactions that are older than every one that runs; or of all that are committed.
-- The first five columns say where the feed is, in the same snapshot, whether there is a row or not.
WITH now AS MATERIALIZED (
    SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xid,
           (SELECT system_identifier FROM pg_control_system()) AS system,
           ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint AS timeline,
           to_regclass(%(feed)s)::oid::bigint AS feed
)
SELECT now.xid::text::bigint, 0, now.system, now.timeline, now.feed, c.entry_id, c.xid, c.seq, coalesce(e.key, c.key), c.at
FROM now
LEFT JOIN LATERAL (
    SELECT c.entry_id, c.xid::text::bigint, c.seq, c.key, c.at
    FROM {schema}.changes AS c
    WHERE c.store_id = %(store_id)s AND (c.xid, c.seq) > (%(xid)s::text::xid8, %(seq)s::bigint)
      AND (%(committed)s OR c.xid < now.xid) AND c.origin <> %(origin)s
    ORDER BY c.xid, c.seq LIMIT %(limit)s
) AS c ON true
LEFT JOIN {schema}.entries AS e ON e.entry_id = c.entry_id
ORDER BY c.xid, c.seq
