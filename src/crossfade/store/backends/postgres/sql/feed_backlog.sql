-- How many rows of the feed a reader has before it, and how old the oldest is.
SELECT count(*), extract(epoch FROM clock_timestamp() - min(c.at))::float8
FROM {schema}.changes AS c
WHERE c.store_id = %(store_id)s AND (c.xid, c.seq) > (%(xid)s::text::xid8, %(seq)s::bigint) AND c.origin <> %(origin)s
