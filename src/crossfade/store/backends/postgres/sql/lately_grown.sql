-- The logs of a tree that were touched since then.
SELECT key FROM {schema}.entries
WHERE store_id = %(store_id)s AND changed_at >= %(since)s AND kind = ANY(%(kinds)s::text[])
    AND type = 'file' AND form = 'log' AND complete
LIMIT %(limit)s
