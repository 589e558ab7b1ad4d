-- Stretches of several entries, as figures: where each starts, its size and digest, its records, and the digest of their columns.
-- There is none where records do not lie side by side, each with bytes: one has some of another's, whatever both come to. They do
-- where ends are beginnings but for the last, so all of both cancel out but the first and the last; no order is needed for that.
-- Whatever place a row says that it has, its end is to be a number: hence the least.
SELECT stretch.entry_id, stretch.number, found.first, octet_length(found.content)::bigint, sha256(found.content), found.records,
       CASE WHEN found.shortest > 0
             AND found.edges = hashint8extended(found.first, 0)
                 # hashint8extended(least(found.first, 9223372034707292159) + octet_length(found.content), 0)
            THEN sha256(found.columns) ELSE '' END,
       found.raws
FROM unnest(%(entries)s::bigint[], %(numbers)s::bigint[], %(lows)s::bigint[], %(highs)s::bigint[])
    AS stretch (entry_id, number, low, high)
CROSS JOIN LATERAL (
    SELECT count(*) AS records, count(reason) AS raws, min(pos) AS first,
           string_agg(coalesce(raw, json_send(body)), ''::bytea ORDER BY pos) AS content,
           min(octet_length(coalesce(raw, json_send(body)))) AS shortest,
           bit_xor(
               hashint8extended(pos, 0)
               # hashint8extended(least(pos, 9223372034707292159) + octet_length(coalesce(raw, json_send(body))), 0)
           ) AS edges,
           string_agg(record_send(ROW(pos, {columns} CASE WHEN {wrong} THEN 'misplaced' ELSE reason END)),
                      ''::bytea ORDER BY pos) AS columns
    FROM {schema}.{kind}
    WHERE store_id = %(store_id)s AND entry_id = stretch.entry_id AND pos >= stretch.low AND pos <= stretch.high
) AS found
WHERE found.records > 0
ORDER BY stretch.entry_id, stretch.number
