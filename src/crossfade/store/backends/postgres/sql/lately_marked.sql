-- The entries of a tree whose files a migration has written since then.
SELECT e.key, e.kind
FROM {schema}.marks m JOIN {schema}.entries e USING (entry_id)
WHERE m.migration_id = %(migration)s AND e.store_id = %(store_id)s AND m.marked_at >= %(since)s AND e.kind = ANY(%(kinds)s::text[])
LIMIT %(limit)s
