-- What programs call: docs/reference/sql.md. They run with the rights of the schema's owner (docs/decisions/0015), say who they
-- are to the guard, and take that back. Paths are texts as in entries.path, or bytes.

-- Say who writes from here on, until the transaction ends or "closed" takes it back; what was said before.
CREATE OR REPLACE FUNCTION {schema}.opened() RETURNS text
LANGUAGE plpgsql AS $body$
DECLARE
    before text := coalesce(current_setting('crossfade.origin', true), '');
BEGIN
    PERFORM set_config('crossfade.origin', 'sql', true);
    RETURN before;
END $body$;

CREATE OR REPLACE FUNCTION {schema}.closed(before text) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM set_config('crossfade.origin', before, true);
END $body$;

CREATE OR REPLACE FUNCTION {schema}.put(store text, path bytea, body bytea, mode integer DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    before text := {schema}.opened();
    generation integer := {schema}.put_at(store, path, body, mode);
BEGIN
    PERFORM {schema}.closed(before);
    RETURN generation;
END $body$;
COMMENT ON FUNCTION {schema}.put(text, bytea, bytea, integer) IS 'Have a file hold these bytes; its generation.';

CREATE OR REPLACE FUNCTION {schema}.append(store text, path bytea, line bytea) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    before text := {schema}.opened();
    at bigint := {schema}.append_at(store, path, line);
BEGIN
    PERFORM {schema}.closed(before);
    RETURN at;
END $body$;
COMMENT ON FUNCTION {schema}.append(text, bytea, bytea) IS 'Add bytes to the end of a file, which is made where there is none; the offset where they begin.';

CREATE OR REPLACE FUNCTION {schema}.remove(store text, path bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    before text := {schema}.opened();
    found boolean := {schema}.remove_at(store, path);
BEGIN
    PERFORM {schema}.closed(before);
    RETURN found;
END $body$;
COMMENT ON FUNCTION {schema}.remove(text, bytea) IS 'Remove a file, a link or an empty directory; false where there was none.';

CREATE OR REPLACE FUNCTION {schema}.move(store text, path bytea, new_path bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    before text := {schema}.opened();
BEGIN
    PERFORM {schema}.move_at(store, path, new_path);
    PERFORM {schema}.closed(before);
END $body$;
COMMENT ON FUNCTION {schema}.move(text, bytea, bytea) IS 'Give a file, a link or a directory another path.';

-- Make a tree that is nobody's copy: the authority for it is here.
CREATE OR REPLACE FUNCTION {schema}.make_store(store text, layout text DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    known {schema}.layouts;
    made  integer;
    kind  text;
BEGIN
    SELECT * INTO known FROM {schema}.layouts AS l
    WHERE l.name = make_store.layout OR (make_store.layout IS NULL AND (SELECT count(*) FROM {schema}.layouts) = 1);
    IF known.fingerprint IS NULL THEN
        RAISE EXCEPTION 'the schema knows % layout(s): %', (SELECT count(*) FROM {schema}.layouts),
            (SELECT string_agg(quote_literal(l.name), ', ') FROM {schema}.layouts AS l)
            USING ERRCODE = 'XF006', HINT = 'crossfade schema --sql --layout FILE prints what makes one known';
    END IF;
    FOR kind IN SELECT k.name FROM {schema}.kinds AS k WHERE NOT k.indexed LOOP
        PERFORM {schema}.build_indexes(kind);
    END LOOP;
    INSERT INTO {schema}.stores (name, origin, layout_name, layout, fingerprint)
    VALUES (store, '', known.name, known.layout, known.fingerprint) RETURNING store_id INTO made;
    INSERT INTO {schema}.routes (store_id, authority) VALUES (made, 'here');
    RETURN made;
END $body$;
COMMENT ON FUNCTION {schema}.make_store(text, text) IS 'Make a tree that is nobody''s copy; its number.';

-- What a first load leaves for its end. Names as in schema.py, index_statements.
CREATE OR REPLACE FUNCTION {schema}.build_indexes(of_kind text) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    wanted json;
    name   text;
BEGIN
    EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS %I ON {schema}.%I (store_id, entry_id, pos)', of_kind || '_by_place', of_kind);
    FOR wanted IN SELECT json_array_elements(k.indexes) FROM {schema}.kinds AS k WHERE k.name = of_kind LOOP
        name := of_kind || '_by_' || (SELECT string_agg(c, '_') FROM json_array_elements_text(wanted) AS x (c));
        name := CASE WHEN length(name) <= 60 THEN name
                     ELSE left(name, 47) || '_' || left(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 12) END;
        EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON {schema}.%I (%s)', name, of_kind,
                       (SELECT string_agg(quote_ident(c), ', ') FROM json_array_elements_text(wanted) AS x (c)));
    END LOOP;
    UPDATE {schema}.kinds AS k SET indexed = true WHERE k.name = of_kind;
END $body$;

-- The same with texts, and without a tree where the schema holds one.

CREATE OR REPLACE FUNCTION {schema}.put(store text, path text, body bytea, mode integer DEFAULT NULL) RETURNS integer
LANGUAGE sql AS $body$ SELECT {schema}.put($1, {schema}.from_text($2), $3, $4) $body$;
CREATE OR REPLACE FUNCTION {schema}.put(store text, path text, body text, mode integer DEFAULT NULL) RETURNS integer
LANGUAGE sql AS $body$ SELECT {schema}.put($1, {schema}.from_text($2), convert_to($3, 'UTF8'), $4) $body$;
CREATE OR REPLACE FUNCTION {schema}.put(path text, body text) RETURNS integer
LANGUAGE sql AS $body$ SELECT {schema}.put(NULL, {schema}.from_text($1), convert_to($2, 'UTF8')) $body$;
CREATE OR REPLACE FUNCTION {schema}.put(path text, body bytea) RETURNS integer
LANGUAGE sql AS $body$ SELECT {schema}.put(NULL, {schema}.from_text($1), $2) $body$;
CREATE OR REPLACE FUNCTION {schema}.put(path bytea, body bytea) RETURNS integer
LANGUAGE sql AS $body$ SELECT {schema}.put(NULL, $1, $2) $body$;

CREATE OR REPLACE FUNCTION {schema}.append(store text, path text, line bytea) RETURNS bigint
LANGUAGE sql AS $body$ SELECT {schema}.append($1, {schema}.from_text($2), $3) $body$;
CREATE OR REPLACE FUNCTION {schema}.append(store text, path text, line text) RETURNS bigint
LANGUAGE sql AS $body$ SELECT {schema}.append($1, {schema}.from_text($2), convert_to($3, 'UTF8')) $body$;
CREATE OR REPLACE FUNCTION {schema}.append(path text, line text) RETURNS bigint
LANGUAGE sql AS $body$ SELECT {schema}.append(NULL, {schema}.from_text($1), convert_to($2, 'UTF8')) $body$;
CREATE OR REPLACE FUNCTION {schema}.append(path text, line bytea) RETURNS bigint
LANGUAGE sql AS $body$ SELECT {schema}.append(NULL, {schema}.from_text($1), $2) $body$;
CREATE OR REPLACE FUNCTION {schema}.append(path bytea, line bytea) RETURNS bigint
LANGUAGE sql AS $body$ SELECT {schema}.append(NULL, $1, $2) $body$;

CREATE OR REPLACE FUNCTION {schema}.remove(store text, path text) RETURNS boolean
LANGUAGE sql AS $body$ SELECT {schema}.remove($1, {schema}.from_text($2)) $body$;
CREATE OR REPLACE FUNCTION {schema}.remove(path text) RETURNS boolean
LANGUAGE sql AS $body$ SELECT {schema}.remove(NULL, {schema}.from_text($1)) $body$;
CREATE OR REPLACE FUNCTION {schema}.remove(path bytea) RETURNS boolean
LANGUAGE sql AS $body$ SELECT {schema}.remove(NULL, $1) $body$;

CREATE OR REPLACE FUNCTION {schema}.move(store text, path text, new_path text) RETURNS void
LANGUAGE sql AS $body$ SELECT {schema}.move($1, {schema}.from_text($2), {schema}.from_text($3)) $body$;
CREATE OR REPLACE FUNCTION {schema}.move(path text, new_path text) RETURNS void
LANGUAGE sql AS $body$ SELECT {schema}.move(NULL, {schema}.from_text($1), {schema}.from_text($2)) $body$;
CREATE OR REPLACE FUNCTION {schema}.move(path bytea, new_path bytea) RETURNS void
LANGUAGE sql AS $body$ SELECT {schema}.move(NULL, $1, $2) $body$;

REVOKE ALL ON FUNCTION
    {schema}.put(text, bytea, bytea, integer), {schema}.append(text, bytea, bytea), {schema}.remove(text, bytea),
    {schema}.move(text, bytea, bytea), {schema}.make_store(text, text)
FROM PUBLIC;
