-- The bytes of several short entries, one row each.
SELECT entry_id, string_agg(data, ''::bytea ORDER BY pos)
FROM (
    SELECT entry_id, pos, coalesce(raw, convert_to(body::text, 'UTF8')) AS data
    FROM {schema}.{kind}
    WHERE store_id = %(store_id)s AND entry_id = ANY(%(entries)s) AND num_nonnulls(body, raw) > 0
    UNION ALL
    SELECT entry_id, pos, data FROM {schema}.chunks WHERE store_id = %(store_id)s AND entry_id = ANY(%(entries)s)
) AS record
GROUP BY entry_id
