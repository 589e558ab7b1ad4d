-- Which rule of a layout takes a path: the table "rules" holds each pattern as a regular expression, in the order of the file.

CREATE OR REPLACE FUNCTION {schema}.place(
    known_as text, path bytea, OUT kind text, OUT form text, OUT fate text, OUT rule text, OUT captured jsonb
)
LANGUAGE plpgsql STABLE STRICT AS $body$
DECLARE
    whole  text := {schema}.latin(path);
    known  {schema}.layouts;
    found  record;
    starts integer[];
    start  integer;
    part   text;
    groups text[];
    at     integer := 0;
BEGIN
    SELECT * INTO known FROM {schema}.layouts AS l WHERE l.fingerprint = known_as;
    starts := CASE WHEN known.rooted THEN ARRAY[1] ELSE ARRAY[]::integer[] END;
    WHILE known.places IS NOT NULL LOOP  -- behind each place that the path goes through
        EXIT WHEN strpos(substr(whole, at + 1), '/') = 0;
        at := at + strpos(substr(whole, at + 1), '/');
        IF left(whole, at - 1) COLLATE "C" ~ known.places THEN
            starts := starts || (at + 1);
        END IF;
    END LOOP;
    FOR found IN
        SELECT * FROM {schema}.rules AS r
        WHERE r.fingerprint = known_as AND right(whole, length(r.tail)) = r.tail ORDER BY r.rank
    LOOP
        FOREACH start IN ARRAY starts LOOP
            part := substr(whole, start);
            CONTINUE WHEN NOT starts_with(part, found.head);
            groups := regexp_match(part COLLATE "C", found.expression);
            CONTINUE WHEN groups IS NULL OR part COLLATE "C" ~ found.kept;
            kind := found.kind; form := found.form; fate := found.fate; rule := found.pattern;
            captured := (
                SELECT coalesce(jsonb_object_agg(name, {schema}.text_of(convert_to(groups[n], 'LATIN1'))), '{}')
                FROM unnest(found.captures) WITH ORDINALITY AS x (name, n)
            );
            RETURN;
        END LOOP;
    END LOOP;
    kind := 'other'; form := 'blob'; fate := 'keep'; rule := ''; captured := '{}';
END $body$;
