-- Entries whose path in words is not what their key says. Most names are plain, and are told without a function call.
SELECT key, kind FROM {schema}.entries
WHERE store_id = %(store_id)s AND type <> 'gone'
  AND path <> replace(encode(key, 'escape'), '\000', '/')
  AND path <> {schema}.text_of({schema}.path_of(key))
ORDER BY key LIMIT 1000
