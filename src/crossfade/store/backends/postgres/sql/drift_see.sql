-- Something that was seen on the side that does not decide. Seen again as another thing it counts again, and what was wished for
-- it before does not hold.
INSERT INTO {schema}.drift AS d
    (migration_id, side, path, key, kind, class, type, size, mtime_ns, ctime_ns, inode, digest, authority)
VALUES (%(migration)s, %(side)s, %(path)s, %(key)s, %(kind)s, %(class)s, %(type)s, %(size)s, %(mtime_ns)s, %(ctime_ns)s,
        %(inode)s, %(digest)s, %(authority)s)
ON CONFLICT (migration_id, sha256(key)) WHERE state = 'open' DO UPDATE SET
    side = excluded.side, kind = excluded.kind, class = excluded.class, type = excluded.type, size = excluded.size,
    mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, inode = excluded.inode, digest = excluded.digest,
    authority = excluded.authority, last_seen = clock_timestamp(), count = d.count + 1, wish = NULL, outcome = ''
WHERE (d.class, d.type, d.size, d.mtime_ns, d.ctime_ns, d.inode, d.digest, d.authority) IS DISTINCT FROM
    (excluded.class, excluded.type, excluded.size, excluded.mtime_ns, excluded.ctime_ns, excluded.inode, excluded.digest,
     excluded.authority)
