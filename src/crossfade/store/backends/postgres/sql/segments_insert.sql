-- Segments of long entries that became whole with a page.
INSERT INTO {schema}.segments (store_id, entry_id, number, pos, size, digest)
SELECT %(store_id)s, * FROM unnest(
    %(entry_id)s::bigint[], %(number)s::int[], %(pos)s::bigint[], %(size)s::bigint[], %(digest)s::bytea[]
)
ON CONFLICT (store_id, entry_id, number) DO UPDATE SET pos = excluded.pos, size = excluded.size, digest = excluded.digest
