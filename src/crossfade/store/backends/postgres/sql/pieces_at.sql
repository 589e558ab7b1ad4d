-- Where, of some positions in an entry, a piece of a long record stands that began earlier.
SELECT c.pos FROM {schema}.chunks c
WHERE c.store_id = %(store_id)s AND c.entry_id = %(entry)s AND c.pos = ANY(%(ends)s)
  AND NOT EXISTS (
      SELECT FROM {schema}.{kind} k WHERE k.store_id = %(store_id)s AND k.entry_id = %(entry)s AND k.pos = c.pos
  )
