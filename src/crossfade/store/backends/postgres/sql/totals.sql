-- What a tree holds, by kind.
SELECT kind, count(*), sum(size), sum(records), sum(raws), count(*) FILTER (WHERE NOT complete)
FROM {schema}.entries
WHERE store_id = %(store_id)s AND type = 'file'
GROUP BY kind ORDER BY kind
