-- The records of several short entries. In no order: they mostly come in the right one, and a sort here would be of the bytes.
SELECT entry_id, pos, coalesce(raw, convert_to(body::text, 'UTF8'))
FROM {schema}.{kind}
WHERE store_id = %(store_id)s AND entry_id = ANY(%(entries)s::bigint[]) AND num_nonnulls(body, raw) > 0
