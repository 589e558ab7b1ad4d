-- Take entries off their paths, so that others can have these: a key that begins with a NUL is no path's.
UPDATE {schema}.entries SET key = '\x00'::bytea || convert_to(entry_id::text, 'UTF8')
WHERE store_id = %(store_id)s AND entry_id = ANY(%(entries)s::bigint[])
