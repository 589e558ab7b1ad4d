-- The first records of one entry that start in [low, high); and behind them what is kept apart of it and starts there.
(
    SELECT pos, coalesce(raw, convert_to(body::text, 'UTF8')) AS data
    FROM {schema}.{kind}
    WHERE store_id = %(store_id)s AND entry_id = %(entry)s AND pos >= %(low)s AND pos < %(high)s
      AND num_nonnulls(body, raw) > 0
    ORDER BY pos
    LIMIT %(limit)s
)
UNION ALL
SELECT pos, data FROM {schema}.chunks
WHERE store_id = %(store_id)s AND entry_id = %(entry)s AND pos >= %(low)s AND pos < %(high)s
