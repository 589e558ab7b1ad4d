-- The bytes of one entry whose records start in [low, high), a row a segment.
SELECT pos / %(segment)s AS number, string_agg(data, ''::bytea ORDER BY pos)
FROM (
    SELECT pos, coalesce(raw, convert_to(body::text, 'UTF8')) AS data
    FROM {schema}.{kind}
    WHERE store_id = %(store_id)s AND entry_id = %(entry)s AND pos >= %(low)s AND pos < %(high)s
      AND num_nonnulls(body, raw) > 0
    UNION ALL
    SELECT pos, data FROM {schema}.chunks
    WHERE store_id = %(store_id)s AND entry_id = %(entry)s AND pos >= %(low)s AND pos < %(high)s
) AS record
GROUP BY number
ORDER BY number
