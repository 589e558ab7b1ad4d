-- Where the feed is now: (transaction, number), and the history that this is true in. The control file is open to every role;
-- the name of the present WAL file tells the timeline at once, where the control file would wait for a checkpoint.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, 0,
       (SELECT system_identifier FROM pg_control_system()),
       ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint,
       to_regclass(%(feed)s)::oid::bigint
