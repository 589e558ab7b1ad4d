-- Delete what every reader of a tree has behind it; all of it where the feed is off.
WITH bound AS MATERIALIZED (
    (SELECT r.xid, r.seq FROM {schema}.cursors AS r JOIN {schema}.stores AS s USING (store_id)
     WHERE r.store_id = %(store_id)s AND s.fed ORDER BY r.xid, r.seq LIMIT 1)
    UNION ALL
    SELECT '18446744073709551615'::xid8, 0 FROM {schema}.stores AS s WHERE s.store_id = %(store_id)s AND NOT s.fed
)
DELETE FROM {schema}.changes AS c
USING (
    SELECT old.xid, old.seq FROM {schema}.changes AS old
    WHERE old.store_id = %(store_id)s AND (old.xid, old.seq) <= ((SELECT xid FROM bound), (SELECT seq FROM bound))
    ORDER BY old.xid, old.seq LIMIT %(limit)s
) AS old
WHERE c.store_id = %(store_id)s AND c.xid = old.xid AND c.seq = old.seq
