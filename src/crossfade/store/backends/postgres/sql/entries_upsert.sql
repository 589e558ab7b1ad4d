-- The entries of a page as they stand after it. A row of the same generation goes on, so its counts are added to.
INSERT INTO {schema}.entries AS e (
    store_id, entry_id, path, key, type, kind, form, generation, size, records, raws,
    mode, mtime_ns, link, digest, within, complete, unstable, changed_at
)
SELECT %(store_id)s, page.*, clock_timestamp()
FROM unnest(
    %(entry_id)s::bigint[], %(path)s::text[], %(key)s::bytea[], %(type)s::text[], %(kind)s::text[], %(form)s::text[],
    %(generation)s::int[], %(size)s::bigint[], %(records)s::bigint[], %(raws)s::bigint[], %(mode)s::int[],
    %(mtime_ns)s::bigint[], %(link)s::bytea[], %(digest)s::bytea[], %(within)s::bigint[], %(complete)s::bool[],
    %(unstable)s::bool[]
) AS page
ON CONFLICT (store_id, sha256(key)) DO UPDATE SET
    path = excluded.path, type = excluded.type, kind = excluded.kind, form = excluded.form, generation = excluded.generation,
    size = excluded.size, mode = excluded.mode, mtime_ns = excluded.mtime_ns, link = excluded.link,
    digest = excluded.digest, within = excluded.within, complete = excluded.complete, unstable = excluded.unstable,
    changed_at = excluded.changed_at,
    records = excluded.records + CASE WHEN e.generation = excluded.generation THEN e.records ELSE 0 END,
    raws = excluded.raws + CASE WHEN e.generation = excluded.generation THEN e.raws ELSE 0 END
