-- Take back the records of one entry from a position on; the reasons of what went.
DELETE FROM {schema}.{kind} WHERE store_id = %(store_id)s AND entry_id = %(entry)s AND pos >= %(pos)s RETURNING reason
