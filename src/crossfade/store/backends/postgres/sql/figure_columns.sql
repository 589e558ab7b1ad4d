-- Each segment of several entries: how many records start in it, and the digest of their columns. Pieces lie between records: one
-- is misplaced as well where it does not begin behind what is before it, or end where what is behind it begins. Names with a
-- space are no column's.
SELECT entry_id, pos / %(segment)s, count(*),
       sha256(string_agg(record_send(ROW(pos, {columns} CASE
           WHEN {wrong} OR "is apart" THEN 'misplaced' ELSE reason
       END)), ''::bytea ORDER BY pos)), count(reason)
FROM (
    SELECT *, lead("its place") OVER side_by_side <> "its end" OR lag("its end") OVER side_by_side <> "its place" AS "is apart"
    FROM (
        SELECT k.entry_id AS "its entry", k.pos AS "its place",
               least(k.pos, 9223372034707292159) + octet_length(coalesce(k.raw, json_send(k.body))) AS "its end", k.*
        FROM {schema}.{kind} AS k
        WHERE k.store_id = %(store_id)s AND k.entry_id = ANY(%(entries)s) AND k.pos >= %(low)s AND k.pos <= %(high)s
        UNION ALL
        SELECT c.entry_id, c.pos, least(c.pos, 9223372034707292159) + octet_length(c.data), k.*
        FROM {schema}.chunks AS c LEFT JOIN {schema}.{kind} AS k ON false
        WHERE c.store_id = %(store_id)s AND c.entry_id = ANY(%(entries)s) AND c.pos >= %(low)s AND c.pos <= %(high)s
    ) AS part
    WINDOW side_by_side AS (PARTITION BY "its entry", "its place" / %(segment)s ORDER BY "its place", store_id NULLS LAST)
) AS part
WHERE store_id IS NOT NULL
GROUP BY 1, 2
ORDER BY 1, 2
