-- Leave tombstones at the paths that entries moved away from: rows that became free, or new ones.
INSERT INTO {schema}.entries AS e (
    store_id, entry_id, path, key, type, kind, form, generation, size, records, raws, mode, mtime_ns, link, complete, unstable
)
SELECT %(store_id)s, page.entry_id, page.path, page.key, 'gone', page.kind, page.form, page.generation, 0, 0, 0, page.mode,
       page.mtime_ns, '', true, false
FROM unnest(%(entry_id)s::bigint[], %(key)s::bytea[], %(path)s::text[], %(kind)s::text[], %(form)s::text[],
            %(generation)s::int[], %(mode)s::int[], %(mtime_ns)s::bigint[])
    AS page (entry_id, key, path, kind, form, generation, mode, mtime_ns)
ON CONFLICT (entry_id) DO UPDATE SET
    key = excluded.key, path = excluded.path, type = 'gone', kind = excluded.kind, form = excluded.form,
    generation = excluded.generation, size = 0, records = 0, raws = 0, mode = excluded.mode, mtime_ns = excluded.mtime_ns,
    link = '', digest = NULL, within = NULL, complete = true, unstable = false, changed_at = clock_timestamp()
