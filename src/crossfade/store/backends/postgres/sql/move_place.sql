-- Have entries stand at their new paths, rows and all.
UPDATE {schema}.entries e SET
    key = page.key, path = page.path, generation = page.generation, mode = page.mode, mtime_ns = page.mtime_ns,
    changed_at = clock_timestamp()
FROM unnest(%(entry_id)s::bigint[], %(key)s::bytea[], %(path)s::text[], %(generation)s::int[], %(mode)s::int[],
            %(mtime_ns)s::bigint[]) AS page (entry_id, key, path, generation, mode, mtime_ns)
WHERE e.store_id = %(store_id)s AND e.entry_id = page.entry_id
