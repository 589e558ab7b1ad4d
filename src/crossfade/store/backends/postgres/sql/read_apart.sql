-- Those of some entries of which something is kept apart: pieces of long records, and records that a server refused.
SELECT DISTINCT entry_id FROM {schema}.chunks WHERE store_id = %(store_id)s AND entry_id = ANY(%(entries)s::bigint[])
