-- Which entries hold anything from a position on: records of a kind, pieces, segments. One probe of an index for each.
SELECT tail.entry_id
FROM unnest(%(entries)s::bigint[], %(positions)s::bigint[]) AS tail (entry_id, pos)
WHERE coalesce(
    (SELECT true FROM {schema}.{kind} AS held
     WHERE held.store_id = %(store_id)s AND held.entry_id = tail.entry_id AND held.pos >= tail.pos ORDER BY held.pos DESC LIMIT 1),
    (SELECT true FROM {schema}.chunks AS held
     WHERE held.store_id = %(store_id)s AND held.entry_id = tail.entry_id AND held.pos >= tail.pos ORDER BY held.pos DESC LIMIT 1),
    (SELECT true FROM {schema}.segments AS held
     WHERE held.store_id = %(store_id)s AND held.entry_id = tail.entry_id AND held.number >= tail.pos / %(segment)s
     AND held.pos >= tail.pos ORDER BY held.number DESC LIMIT 1),
    false
)
