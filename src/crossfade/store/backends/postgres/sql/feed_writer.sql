-- The oldest transaction that has written entries and is not over: it holds the writers' lock (functions/guard.sql).
SELECT a.pid, coalesce(a.datname, ''), coalesce(a.usename, ''), coalesce(a.application_name, ''),
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8
FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid = (hashtext(%(name)s)::bigint & 4294967295)::oid AND l.objid = 0
ORDER BY a.xact_start
LIMIT 1
