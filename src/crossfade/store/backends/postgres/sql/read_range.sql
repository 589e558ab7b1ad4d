-- The first records of one entry that start in [low, high), where each begins behind the one before: nothing but bytes.
SELECT coalesce(raw, convert_to(body::text, 'UTF8'))
FROM {schema}.{kind}
WHERE store_id = %(store_id)s AND entry_id = %(entry)s AND pos >= %(low)s AND pos < %(high)s
  AND num_nonnulls(body, raw) > 0
ORDER BY pos
LIMIT %(limit)s
