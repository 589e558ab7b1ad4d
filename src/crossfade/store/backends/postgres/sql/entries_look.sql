-- What a tree holds at some paths, tombstones included, with the mark of one migration (looked up as in entries_list).
SELECT e.entry_id, e.key, e.type, e.kind, e.form, e.generation, e.size, e.records, e.raws, e.mode, e.mtime_ns, e.link,
       e.digest, e.within, e.complete, e.unstable, m.size, m.mtime_ns, m.ctime_ns, m.inode, m.digest
FROM {schema}.entries e
LEFT JOIN LATERAL (
    SELECT size, mtime_ns, ctime_ns, inode, digest
    FROM {schema}.marks
    WHERE migration_id = %(migration)s AND entry_id = e.entry_id
    LIMIT 1
) AS m ON true
WHERE e.store_id = %(store_id)s AND sha256(e.key) = ANY(ARRAY(SELECT sha256(k) FROM unnest(%(keys)s::bytea[]) AS k))
ORDER BY e.key
