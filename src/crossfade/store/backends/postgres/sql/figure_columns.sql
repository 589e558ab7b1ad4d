-- Each segment of several entries: how many records start in it, and the digest of their columns.
SELECT entry_id, pos / %(segment)s AS number, count(*),
       sha256(string_agg(record_send(ROW(pos, {columns} {reason})), ''::bytea ORDER BY pos)), count(reason)
FROM {schema}.{kind}
WHERE store_id = %(store_id)s AND entry_id = ANY(%(entries)s) AND pos >= %(low)s AND pos <= %(high)s
GROUP BY entry_id, number
ORDER BY entry_id, number
