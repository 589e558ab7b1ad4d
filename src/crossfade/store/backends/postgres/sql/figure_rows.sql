-- The records of one entry that start in a stretch: where, why they are raw, and their columns, as the figures take them. Of two
-- records that do not lie side by side the second is misplaced; of a record and a piece, the record.
SELECT pos, reason, record_send(ROW(pos, {columns} CASE WHEN {wrong} OR "is apart" THEN 'misplaced' ELSE reason END))
FROM (
    SELECT *, lag("its end") OVER side_by_side <> "its place" OR (
               lead(store_id) OVER side_by_side IS NULL AND lead("its place") OVER side_by_side <> "its end"
           ) AS "is apart"
    FROM (
        SELECT k.pos AS "its place", least(k.pos, 9223372034707292159) + octet_length(coalesce(k.raw, json_send(k.body))) AS "its end", k.*
        FROM {schema}.{kind} AS k
        WHERE k.store_id = %(store_id)s AND k.entry_id = %(entry)s AND k.pos >= %(low)s AND k.pos < %(high)s
        UNION ALL
        SELECT c.pos, least(c.pos, 9223372034707292159) + octet_length(c.data), k.*
        FROM {schema}.chunks AS c LEFT JOIN {schema}.{kind} AS k ON false
        WHERE c.store_id = %(store_id)s AND c.entry_id = %(entry)s AND c.pos >= %(low)s AND c.pos < %(high)s
    ) AS part
    WINDOW side_by_side AS (ORDER BY "its place", store_id NULLS LAST)
) AS part
WHERE store_id IS NOT NULL
ORDER BY pos
