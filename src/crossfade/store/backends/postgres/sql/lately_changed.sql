-- The entries of a tree that were touched since then, tombstones included.
SELECT key, kind FROM {schema}.entries
WHERE store_id = %(store_id)s AND changed_at >= %(since)s AND kind = ANY(%(kinds)s::text[])
LIMIT %(limit)s
