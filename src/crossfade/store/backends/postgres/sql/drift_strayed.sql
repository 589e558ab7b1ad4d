-- Files of a tree, a copy of one migration's, that hold another thing than its mark says, or have none: somebody else wrote them.
SELECT e.key
FROM {schema}.entries AS e
LEFT JOIN {schema}.marks AS m ON m.migration_id = %(migration)s AND m.entry_id = e.entry_id
WHERE e.store_id = %(store_id)s AND e.type = 'file' AND e.complete AND m.digest IS DISTINCT FROM e.digest
LIMIT %(limit)s
