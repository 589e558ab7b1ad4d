-- The rows that stand at some paths, kept there until the transaction ends: a move that is under way is waited for, and one that
-- comes later takes along what is written of the path until then. One that was waited for leaves its path out; ask again.
SELECT e.entry_id, e.key FROM {schema}.entries AS e
WHERE e.store_id = (SELECT m.store_id FROM {schema}.migrations AS m WHERE m.migration_id = %(migration)s)
  AND sha256(e.key) = ANY(ARRAY(SELECT sha256(k) FROM unnest(%(keys)s::bytea[]) AS k))
ORDER BY e.key FOR KEY SHARE OF e
