-- Each segment of several entries: where it starts, its size, its digest; computed where the bytes are.
SELECT entry_id, pos / %(segment)s AS number, min(pos), sum(octet_length(data))::bigint,
       sha256(string_agg(data, ''::bytea ORDER BY pos))
FROM (
    SELECT entry_id, pos, coalesce(raw, convert_to(body::text, 'UTF8')) AS data
    FROM {schema}.{kind}
    WHERE store_id = %(store_id)s AND entry_id = ANY(%(entries)s) AND pos >= %(low)s AND pos <= %(high)s
      AND num_nonnulls(body, raw) > 0
    UNION ALL
    SELECT entry_id, pos, data FROM {schema}.chunks
    WHERE store_id = %(store_id)s AND entry_id = ANY(%(entries)s) AND pos >= %(low)s AND pos <= %(high)s
) AS record
GROUP BY entry_id, number
ORDER BY entry_id, number
