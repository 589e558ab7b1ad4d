-- What spans of several entries hold: how many bytes, and their digest; computed where the bytes are.
SELECT span.number, found.size, found.digest
FROM unnest(%(numbers)s::int[], %(entries)s::bigint[], %(lows)s::bigint[], %(highs)s::bigint[])
    AS span (number, entry_id, low, high)
CROSS JOIN LATERAL (
    SELECT sum(octet_length(data))::bigint AS size, sha256(string_agg(data, ''::bytea ORDER BY pos)) AS digest
    FROM (
        SELECT pos, coalesce(raw, convert_to(body::text, 'UTF8')) AS data
        FROM {schema}.{kind}
        WHERE store_id = %(store_id)s AND entry_id = span.entry_id AND pos >= span.low AND pos < span.high
          AND num_nonnulls(body, raw) > 0
        UNION ALL
        SELECT pos, data FROM {schema}.chunks
        WHERE store_id = %(store_id)s AND entry_id = span.entry_id AND pos >= span.low AND pos < span.high
    ) AS record
) AS found
WHERE found.size IS NOT NULL
