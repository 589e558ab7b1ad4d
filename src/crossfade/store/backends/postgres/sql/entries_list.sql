-- The next entries of a tree, as a walk would meet them, with the mark of one migration.
SELECT e.entry_id, e.key, e.type, e.kind, e.form, e.generation, e.size, e.records, e.raws, e.mode, e.mtime_ns, e.link,
       e.digest, e.within, e.complete, e.unstable, m.size, m.mtime_ns, m.ctime_ns, m.inode, m.digest
FROM {schema}.entries e
LEFT JOIN {schema}.marks m ON m.migration_id = %(migration)s AND m.entry_id = e.entry_id
WHERE e.store_id = %(store_id)s
  AND (%(after)s::bytea IS NULL OR (substring(e.key FROM 1 FOR 512) >= substring(%(after)s::bytea FROM 1 FOR 512)
                                    AND e.key > %(after)s::bytea))
  AND (e.type <> 'gone' OR %(gone)s)
ORDER BY substring(e.key FROM 1 FOR 512), e.key
LIMIT %(limit)s
