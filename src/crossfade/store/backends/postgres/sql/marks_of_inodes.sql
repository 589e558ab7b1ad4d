-- Which entries some files were when they were last in step.
SELECT e.key
FROM {schema}.marks m JOIN {schema}.entries e ON e.entry_id = m.entry_id
WHERE m.migration_id = %(migration)s AND m.inode = ANY(%(inodes)s::bigint[])
  AND e.store_id = %(store_id)s AND e.type = 'file' AND e.complete AND e.size > 0
ORDER BY e.key
LIMIT 10000
