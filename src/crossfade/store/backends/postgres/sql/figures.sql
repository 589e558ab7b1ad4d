-- Stretches of several entries, as figures: where each starts, its size and digest, its records, and the digest of their columns.
SELECT stretch.entry_id, stretch.number, found.first, octet_length(found.content)::bigint, sha256(found.content), found.records,
       sha256(found.columns), found.raws
FROM unnest(%(entries)s::bigint[], %(numbers)s::bigint[], %(lows)s::bigint[], %(highs)s::bigint[])
    AS stretch (entry_id, number, low, high)
CROSS JOIN LATERAL (
    SELECT count(*) AS records, count(reason) AS raws, min(pos) AS first,
           string_agg(coalesce(raw, convert_to(body::text, 'UTF8')), ''::bytea ORDER BY pos) AS content,
           string_agg(record_send(ROW(pos, {columns} {reason})), ''::bytea ORDER BY pos) AS columns
    FROM {schema}.{kind}
    WHERE store_id = %(store_id)s AND entry_id = stretch.entry_id AND pos >= stretch.low AND pos <= stretch.high
) AS found
WHERE found.records > 0
ORDER BY stretch.entry_id, stretch.number
