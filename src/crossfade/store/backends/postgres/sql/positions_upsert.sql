-- The page that this worker applied last, in the page's own transaction.
INSERT INTO {schema}.positions AS p (migration_id, worker, page, applied_at)
VALUES (%(migration)s, %(worker)s, %(page)s, clock_timestamp())
ON CONFLICT (migration_id, worker) DO UPDATE SET page = excluded.page, applied_at = excluded.applied_at
