-- Bytes and texts: what model/paths.py and Python's decoders do, for the functions that write (docs/decisions/0015).

-- Bytes as characters U+0001 to U+00FF, which a regular expression can look at. There must be no NUL among them.
CREATE OR REPLACE FUNCTION {schema}.latin(bytes bytea) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$ SELECT convert_from($1, 'LATIN1') $body$;

CREATE OR REPLACE FUNCTION {schema}.has_nul(bytes bytea) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$ SELECT position($$\x00$$::bytea IN $1) > 0 $body$;

-- The text that strict UTF-8 makes of bytes; NULL where it makes none, or where there is a NUL, which no text can hold.
CREATE OR REPLACE FUNCTION {schema}.strict_text(bytes bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
BEGIN
    RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    RETURN NULL;
END $body$;

-- As decode("utf-8", "replace"): U+FFFD for each sequence that does not go on as it began. A NUL becomes its escape, behind a
-- space, so that a backslash in front of it stays a bad escape.
CREATE OR REPLACE FUNCTION {schema}.lossy_text(bytes bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    found text := {schema}.strict_text(bytes);
    one   text := E'(?:[\u0001-\u007F]|[\u00C2-\u00DF][\u0080-\u00BF]|\u00E0[\u00A0-\u00BF][\u0080-\u00BF]'
               || E'|[\u00E1-\u00EC\u00EE\u00EF][\u0080-\u00BF]{2}|\u00ED[\u0080-\u009F][\u0080-\u00BF]'
               || E'|\u00F0[\u0090-\u00BF][\u0080-\u00BF]{2}|[\u00F1-\u00F3][\u0080-\u00BF]{3}|\u00F4[\u0080-\u008F][\u0080-\u00BF]{2})';
    begun text := E'\u00E0[\u00A0-\u00BF]|[\u00E1-\u00EC\u00EE\u00EF][\u0080-\u00BF]|\u00ED[\u0080-\u009F]'
               || E'|\u00F0[\u0090-\u00BF][\u0080-\u00BF]?|[\u00F1-\u00F3][\u0080-\u00BF]{1,2}|\u00F4[\u0080-\u008F][\u0080-\u00BF]?|[\u0080-\u00FF]';
BEGIN
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    IF {schema}.has_nul(bytes) THEN
        bytes := {schema}.nul_escaped(bytes);
    END IF;
    RETURN (
        SELECT string_agg(coalesce(convert_from(convert_to(m[1], 'LATIN1'), 'UTF8'), chr(65533)), '' ORDER BY n)
        FROM regexp_matches({schema}.latin(bytes), '(' || one || '+)|' || begun, 'g') WITH ORDINALITY AS run (m, n)
    );
END $body$;

-- Bytes with ' \u0000' for each NUL. In the format "escape" a NUL is \000, and a backslash is two.
CREATE OR REPLACE FUNCTION {schema}.nul_escaped(bytes bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$
    SELECT decode(
        replace(
            replace(replace(encode($1, 'escape'), $$\\$$, chr(57344)), $$\000$$, $$ \\u0000$$),
            chr(57344), $$\\$$
        ),
        'escape'
    )
$body$;

-- The lines of bytes, endings included, with the offset of each.
CREATE OR REPLACE FUNCTION {schema}.lines(content bytea) RETURNS TABLE (before bigint, line bytea)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$
    SELECT coalesce(sum(octet_length(l.line)) OVER (ORDER BY l.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0), l.line
    FROM (
        SELECT n, decode(part, 'escape') || CASE WHEN n < count(*) OVER () THEN $$\x0a$$::bytea ELSE '' END AS line
        FROM unnest(string_to_array(encode($1, 'escape'), E'\n')) WITH ORDINALITY AS x (part, n)
    ) AS l
    WHERE l.line <> ''
    ORDER BY l.n
$body$;

-- The sort key of a path: a NUL for each slash.
CREATE OR REPLACE FUNCTION {schema}.key_of(path bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$
    SELECT decode(replace(encode($1, 'escape'), '/', $$\000$$), 'escape')
$body$;

CREATE OR REPLACE FUNCTION {schema}.path_of(key bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$
    SELECT decode(
        replace(replace(replace(encode($1, 'escape'), $$\\$$, chr(57344)), $$\000$$, '/'), chr(57344), $$\\$$), 'escape'
    )
$body$;

-- A path for people: UTF-8, with \xNN for control characters and other bytes, and \\ for a backslash.
CREATE OR REPLACE FUNCTION {schema}.text_of(path bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    found text := {schema}.strict_text(path);
    one   text := E'(?:[]\u0020-\u005A\u005E-\u007E[]|[\u00C2-\u00DF][\u0080-\u00BF]|\u00E0[\u00A0-\u00BF][\u0080-\u00BF]'
               || E'|[\u00E1-\u00EC\u00EE\u00EF][\u0080-\u00BF]{2}|\u00ED[\u0080-\u009F][\u0080-\u00BF]'
               || E'|\u00F0[\u0090-\u00BF][\u0080-\u00BF]{2}|[\u00F1-\u00F3][\u0080-\u00BF]{3}|\u00F4[\u0080-\u008F][\u0080-\u00BF]{2})';
BEGIN
    IF found !~ $$[\\\x01-\x1f\x7f]$$ THEN
        RETURN found;
    END IF;
    RETURN (
        SELECT coalesce(string_agg(
            coalesce(convert_from(convert_to(m[1], 'LATIN1'), 'UTF8'),
                     CASE m[2] WHEN $$\$$ THEN $$\\$$ ELSE $$\x$$ || lpad(to_hex(ascii(m[2])), 2, '0') END), '' ORDER BY n), '')
        FROM regexp_matches({schema}.latin(path), '(' || one || '+)|(.)', 'g') WITH ORDINALITY AS run (m, n)
    );
END $body$;

-- The bytes behind text_of.
CREATE OR REPLACE FUNCTION {schema}.from_text(path text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$
    SELECT CASE WHEN strpos($1, $$\$$) = 0 THEN convert_to($1, 'UTF8') ELSE (
        SELECT coalesce(string_agg(
            CASE WHEN m[1] IS NULL THEN convert_to(m[2], 'UTF8') WHEN m[1] = $$\\$$ THEN $$\x5c$$::bytea
                 ELSE decode(substr(m[1], 3), 'hex') END, ''::bytea ORDER BY n), '')
        FROM regexp_matches($1, $$(\\x[0-9a-f]{2}|\\\\)|(\\|[^\\]+)$$, 'g') WITH ORDINALITY AS run (m, n)
    ) END
$body$;
