-- What the file system said of these entries when they were in step.
INSERT INTO {schema}.marks AS m (migration_id, entry_id, size, mtime_ns, ctime_ns, inode, digest, marked_at)
SELECT %(migration)s, entry_id, size, mtime_ns, ctime_ns, inode, digest, clock_timestamp()
FROM unnest(%(entry_id)s::bigint[], %(size)s::bigint[], %(mtime_ns)s::bigint[], %(ctime_ns)s::bigint[],
            %(inode)s::bigint[], %(digest)s::bytea[]) AS page (entry_id, size, mtime_ns, ctime_ns, inode, digest)
ON CONFLICT (migration_id, entry_id) DO UPDATE SET
    size = excluded.size, mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, inode = excluded.inode,
    digest = excluded.digest, marked_at = excluded.marked_at
