-- What other migrations know of a path stays with the path: they have not moved anything. Twice turned, as rows change places.
WITH turned AS (
    UPDATE {schema}.marks m SET entry_id = -page.now
    FROM unnest(%(before)s::bigint[], %(now)s::bigint[]) AS page (before, now)
    WHERE m.entry_id = page.before AND m.migration_id <> %(migration)s
)
DELETE FROM {schema}.marks WHERE entry_id = ANY(%(left)s::bigint[]) AND migration_id = %(migration)s
