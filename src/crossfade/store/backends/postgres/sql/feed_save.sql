-- How far a reader of the feed is.
INSERT INTO {schema}.cursors (migration_id, store_id, xid, seq, system, timeline, feed)
VALUES (%(migration)s, %(store_id)s, %(xid)s::text::xid8, %(seq)s, %(system)s, %(timeline)s, %(feed)s)
ON CONFLICT (migration_id, store_id) DO UPDATE SET
    xid = excluded.xid, seq = excluded.seq, system = excluded.system, timeline = excluded.timeline, feed = excluded.feed,
    moved_at = clock_timestamp()
