-- Every entry of a tree, as a walk would meet it, with the mark of one migration.
SELECT e.entry_id, e.key, e.type, e.kind, e.form, e.generation, e.size, e.records, e.raws, e.mode, e.mtime_ns, e.link,
       e.digest, e.within, e.complete, e.unstable, m.size, m.mtime_ns, m.ctime_ns, m.inode, m.digest
FROM {schema}.entries e
LEFT JOIN {schema}.marks m ON m.migration_id = %(migration)s AND m.entry_id = e.entry_id
WHERE e.store_id = %(store_id)s AND e.changed_at >= %(since)s AND (e.type <> 'gone' OR %(gone)s)
ORDER BY e.key
