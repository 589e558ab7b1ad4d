-- The logs of a tree that were touched between then and then, in the order of their rows.
SELECT entry_id, key FROM {schema}.entries
WHERE store_id = %(store_id)s AND entry_id > %(after)s AND changed_at >= %(since)s AND changed_at < %(until)s
    AND kind = ANY(%(kinds)s::text[]) AND type = 'file' AND form = 'log' AND complete
ORDER BY entry_id LIMIT %(limit)s
