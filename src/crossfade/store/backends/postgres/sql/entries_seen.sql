-- What stands at some paths, kept so until the transaction ends.
SELECT key, type, generation, size, mode, mtime_ns, link, digest FROM {schema}.entries
WHERE store_id = %(store_id)s AND sha256(key) = ANY(ARRAY(SELECT sha256(k) FROM unnest(%(keys)s::bytea[]) AS k))
ORDER BY key FOR UPDATE
