-- Which bytes are safe JSON, and what a forgiving reading finds in those that are not: model/records.py.

CREATE OR REPLACE FUNCTION {schema}.is_json(value text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
BEGIN
    PERFORM value::json;
    RETURN true;
EXCEPTION WHEN invalid_text_representation OR untranslatable_character OR statement_too_complex THEN
    RETURN false;
END $body$;

-- As is_json, for many at once.
CREATE OR REPLACE FUNCTION {schema}.all_json(given text[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
BEGIN
    PERFORM count(value::json) FROM unnest(given) AS x (value);
    RETURN true;
EXCEPTION WHEN invalid_text_representation OR untranslatable_character OR statement_too_complex THEN
    RETURN false;
END $body$;

-- True where a text may hold the escape of a NUL or of half a surrogate pair; one look at many records.
CREATE OR REPLACE FUNCTION {schema}.suspicious(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$
    SELECT strpos($1, $$\u$$) > 0 AND $1 ~ $$\\u(?:0000|[dD][89a-fA-F])$$
$body$;

-- The first such escape that is one: 'nul' or 'surrogate'. An escaped backslash before the u is harmless.
CREATE OR REPLACE FUNCTION {schema}.bad_escape(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    pair constant text := $$\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}$$;
    found text;
BEGIN
    IF NOT {schema}.suspicious(value) THEN
        RETURN NULL;
    END IF;
    found := substring(regexp_replace(replace(value, $$\\$$, '__'), pair, '_', 'g')
                       FROM $$\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})$$);
    RETURN CASE WHEN found = $$\u0000$$ THEN 'nul' WHEN found IS NOT NULL THEN 'surrogate' END;
END $body$;

-- True where brackets outside of strings are nested more than 512 deep; size is the record's in bytes.
CREATE OR REPLACE FUNCTION {schema}.is_deep(value text, size bigint) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    brackets text;
    left_over text;
BEGIN
    IF size <= 1024 OR length(value) - length(translate(value, '[{', '')) <= 512 THEN
        RETURN false;
    END IF;
    brackets := regexp_replace(value, $$"(?:[^"\\]|\\.)*"?$$, '', 'g');
    brackets := translate(regexp_replace(brackets, '[^][{}]+', '', 'g'), '{}', '[]');
    left_over := brackets;
    FOR level IN 1..512 LOOP
        value := left_over;
        left_over := replace(value, '[]', '');
        EXIT WHEN left_over = value;
    END LOOP;
    RETURN left_over <> '' AND (
        SELECT max(depth) > 512 FROM (
            SELECT sum(CASE part WHEN '[' THEN 1 ELSE -1 END) OVER (ORDER BY n) AS depth
            FROM regexp_split_to_table(brackets, '') WITH ORDINALITY AS x (part, n)
        ) AS nesting
    );
END $body$;

-- Why a record is raw; NULL for safe JSON.
CREATE OR REPLACE FUNCTION {schema}.why_raw(record bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    value text := {schema}.strict_text(record);
    holds_nul boolean := value IS NULL AND {schema}.has_nul(record);
    reason text;
BEGIN
    IF holds_nul THEN
        value := {schema}.strict_text(decode(replace(replace(replace(encode(record, 'escape'),
            $$\\$$, chr(57344)), $$\000$$, ' '), chr(57344), $$\\$$), 'escape'));
    END IF;
    IF value IS NULL THEN
        RETURN 'utf8';
    END IF;
    reason := coalesce({schema}.bad_escape(value), CASE WHEN {schema}.is_deep(value, octet_length(record)) THEN 'depth' END);
    IF reason IS NOT NULL OR (NOT holds_nul AND {schema}.is_json(value)) THEN
        RETURN reason;
    END IF;
    RETURN CASE
        WHEN NOT holds_nul AND btrim(value, E' \t\n\r\x0b\x0c') = '' THEN 'blank'
        WHEN starts_with(value, chr(65279)) THEN 'bom'
        WHEN right(value, 1) = E'\n' THEN 'syntax'
        ELSE 'torn'
    END;
END $body$;

-- One string of a text that is no JSON yet, with its quotes: control characters as escapes. A string that no column can hold
-- (a NUL, half a surrogate pair) becomes an object, or as a key one that no layout can ask for. NULL for a bad escape.
CREATE OR REPLACE FUNCTION {schema}.mended(part text, is_key boolean) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $body$
DECLARE
    marker text := chr(57344);
BEGIN
    IF part ~ E'[\x01-\x1f]' THEN
        WHILE strpos(part, marker) > 0 LOOP
            marker := chr(ascii(marker) + 1);
        END LOOP;
        part := replace(part, $$\\$$, marker);
        IF part ~ E'\\\\[\x01-\x1f]' THEN
            RETURN NULL;
        END IF;
        FOR code IN 1..31 LOOP
            part := replace(part, chr(code), $$\u00$$ || lpad(to_hex(code), 2, '0'));
        END LOOP;
        part := replace(part, marker, $$\\$$);
    END IF;
    IF {schema}.bad_escape(part) IS NULL THEN
        RETURN part;
    END IF;
    part := regexp_replace(replace(part, $$\\$$, '__'), $$\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})$$, '_', 'g');
    RETURN CASE WHEN is_key THEN '"/' || substr(part, 2) ELSE '{"":' || part || '}' END;
END $body$;

-- The object at the head of a raw record, where a forgiving reading finds one: bytes that are not UTF-8 are replaced, control
-- characters and NaN taken, what follows is ignored. NULL where there is none, or one that is nested too deeply.
CREATE OR REPLACE FUNCTION {schema}.tolerant(record bytea) RETURNS json
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    value text := ltrim({schema}.lossy_text(record), chr(65279) || E' \t\r\n');
BEGIN
    IF NOT starts_with(value, '{') OR {schema}.is_deep(value, octet_length(record)) THEN
        RETURN NULL;
    END IF;
    WITH token AS (
        SELECT n, m[1] AS part, CASE WHEN m[1] IN ('{', '[') THEN 1 WHEN m[1] IN ('}', ']') THEN -1 ELSE 0 END AS step
        FROM regexp_matches(value, $$("(?:[^"\\]|\\.)*"?|[][{}]|[^][{}"]+)$$, 'g') WITH ORDINALITY AS x (m, n)
    ), nested AS (
        SELECT n, part, sum(step) OVER (ORDER BY n) AS depth, lead(part) OVER (ORDER BY n) AS next FROM token
    ), clean AS (
        SELECT n, CASE
            WHEN starts_with(part, '"') THEN {schema}.mended(part, next ~ $$^[ \t\r\n]*:$$)
            ELSE regexp_replace(part, '-?Infinity|NaN', ' 0.5 ', 'g')
        END AS part
        FROM nested WHERE n <= (SELECT min(n) FROM nested WHERE depth = 0)
    )
    SELECT CASE WHEN bool_and(part IS NOT NULL) THEN string_agg(part, '' ORDER BY n) END INTO value FROM clean;
    RETURN CASE WHEN {schema}.is_json(value) THEN value::json END;
END $body$;

-- The records of some bytes, as rows of a kind's table. "doc" is what the columns are read from, where that is not the body.
CREATE OR REPLACE FUNCTION {schema}.records(content bytea, start bigint, how text)
RETURNS TABLE (pos bigint, reason text, body json, raw bytea, doc json)
LANGUAGE plpgsql IMMUTABLE STRICT AS $body$
DECLARE
    value text;
    found text[];
BEGIN
    IF how NOT IN ('log', 'document') THEN
        RETURN QUERY SELECT start, nullif(how, 'blob'), NULL::json, CASE WHEN how <> 'long' THEN content END, NULL::json;
        RETURN;
    END IF;
    value := {schema}.strict_text(content);
    IF value IS NOT NULL AND NOT {schema}.suspicious(value) THEN
        found := CASE WHEN how = 'document' THEN ARRAY[value] ELSE {schema}.text_lines(value) END;
        IF NOT (octet_length(content) > 1024 AND EXISTS (
            SELECT FROM unnest(found) AS x (line) WHERE octet_length(line) > 1024 AND {schema}.is_deep(line, octet_length(line))
        )) AND {schema}.all_json(found) THEN
            RETURN QUERY
                SELECT start + coalesce(sum(octet_length(x.line)) OVER (ORDER BY x.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0),
                       NULL::text, x.line::json, NULL::bytea, NULL::json
                FROM unnest(found) WITH ORDINALITY AS x (line, n);
            RETURN;
        END IF;
    END IF;
    RETURN QUERY
        WITH r AS MATERIALIZED (
            SELECT l.before, l.line, {schema}.why_raw(l.line) AS why
            FROM {schema}.lines(content) AS l WHERE how = 'log'
            UNION ALL
            SELECT 0, content, {schema}.why_raw(content) WHERE how = 'document'
        )
        SELECT start + r.before, r.why, CASE WHEN r.why IS NULL THEN convert_from(r.line, 'UTF8')::json END,
               CASE WHEN r.why IS NOT NULL THEN r.line END, CASE WHEN r.why IS NOT NULL THEN {schema}.tolerant(r.line) END
        FROM r;
END $body$;

-- The lines of a text, endings included.
CREATE OR REPLACE FUNCTION {schema}.text_lines(value text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$
    SELECT array_agg(line ORDER BY n) FROM (
        SELECT n, part || CASE WHEN n < count(*) OVER () THEN E'\n' ELSE '' END AS line
        FROM unnest(string_to_array($1, E'\n')) WITH ORDINALITY AS x (part, n)
    ) AS l WHERE line <> ''
$body$;
