-- The next entries of a tree, as a walk would meet them, with the mark of one migration. Marks are looked up one by one: while
-- a first copy fills them, their statistics say that there are none, and a join would go through them all for every entry.
SELECT e.*, m.*
FROM (
    SELECT entry_id, key, type, kind, form, generation, size, records, raws, mode, mtime_ns, link, digest, within, complete, unstable
    FROM {schema}.entries
    WHERE store_id = %(store_id)s
      AND substring(key FROM 1 FOR 512) >= substring(coalesce(%(after)s::bytea, '') FROM 1 FOR 512)
      AND (%(after)s::bytea IS NULL OR key > %(after)s::bytea)
      AND (type <> 'gone' OR %(gone)s)
      AND (type IN ('dir', 'gone') OR NOT %(directories)s)
    ORDER BY substring(key FROM 1 FOR 512), key
    LIMIT %(limit)s
) AS e
LEFT JOIN LATERAL (
    SELECT size, mtime_ns, ctime_ns, inode, digest
    FROM {schema}.marks
    WHERE migration_id = %(migration)s AND entry_id = e.entry_id
    LIMIT 1
) AS m ON true
ORDER BY substring(e.key FROM 1 FOR 512), e.key
