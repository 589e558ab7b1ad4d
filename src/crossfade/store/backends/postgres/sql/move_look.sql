-- What stands at some paths, to be moved or to make room.
SELECT entry_id, key, type, kind, form, generation FROM {schema}.entries
WHERE store_id = %(store_id)s AND sha256(key) = ANY(ARRAY(SELECT sha256(k) FROM unnest(%(keys)s::bytea[]) AS k))
FOR UPDATE
