-- Take back the records of one entry from a position on; how many went, by reason.
WITH gone AS (
    DELETE FROM {schema}.{kind} WHERE store_id = %(store_id)s AND entry_id = %(entry)s AND pos >= %(pos)s RETURNING reason
)
SELECT reason, count(*) FROM gone GROUP BY reason
