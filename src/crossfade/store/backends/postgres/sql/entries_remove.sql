-- Leave a tombstone: a later run, or another migration, can tell "removed" from "never seen".
UPDATE {schema}.entries SET
    type = 'gone', size = 0, records = 0, raws = 0, link = '', digest = NULL, within = NULL, complete = true, unstable = false,
    generation = generation + 1, changed_at = clock_timestamp()
WHERE store_id = %(store_id)s AND entry_id = ANY(%(entries)s)
