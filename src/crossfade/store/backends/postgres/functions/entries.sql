-- Entries, for the functions that write: finding, holding and making them, and the directories above them.

-- The tree of that name; without a name, the only one.
CREATE OR REPLACE FUNCTION {schema}.find_store(wanted text) RETURNS {schema}.stores
LANGUAGE plpgsql STABLE AS $body$
DECLARE
    found {schema}.stores;
    names text;
BEGIN
    SELECT * INTO found FROM {schema}.stores AS s
    WHERE s.name = wanted OR (wanted IS NULL AND (SELECT count(*) FROM {schema}.stores) = 1);
    IF found.store_id IS NULL THEN
        names := (SELECT string_agg(quote_literal(s.name), ', ' ORDER BY s.name) FROM {schema}.stores AS s);
        RAISE EXCEPTION '%', CASE WHEN names IS NULL THEN 'the schema holds no tree yet' WHEN wanted IS NULL
            THEN 'the schema holds several trees: ' || names ELSE format('there is no tree %L; there are ', wanted) || names END
            USING ERRCODE = 'XF006', HINT = 'name the tree first: put(store, path, body); make_store(name) makes one';
    END IF;
    RETURN found;
END $body$;

-- Refuse what names no place inside the root: model/paths.py, leaves_root.
CREATE OR REPLACE FUNCTION {schema}.check_path(path bytea) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $body$
BEGIN
    IF path IS NULL OR {schema}.has_nul(path) OR {schema}.latin(path) ~ '(^|/)([.][.]?)?(/|$)' THEN  -- no backslash: sessions differ in it
        RAISE EXCEPTION 'a path is relative to the root, without empty names, ''.'', ''..'' and NUL'
            USING ERRCODE = 'XF004', HINT = 'write it as it stands in entries.path';
    END IF;
END $body$;

-- Where the layout puts a path. Refuses one that is not moved, unless it was taken along on purpose.
CREATE OR REPLACE FUNCTION {schema}.place_in(
    tree {schema}.stores, path bytea, OUT kind text, OUT form text, OUT fate text, OUT rule text, OUT captured jsonb
)
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    PERFORM {schema}.check_path(path);
    SELECT * INTO kind, form, fate, rule, captured FROM {schema}.place(tree.fingerprint, path);
    IF fate <> 'keep' AND coalesce(({schema}.entry_at(tree.store_id, path)).type, 'gone') = 'gone' THEN
        RAISE EXCEPTION 'layout %: rule % keeps this path out', quote_literal(tree.layout_name), quote_literal(rule)
            USING ERRCODE = 'XF004', HINT = 'crossfade layouts test DIR shows what each rule takes';
    END IF;
END $body$;

CREATE OR REPLACE FUNCTION {schema}.entry_at(tree integer, path bytea) RETURNS {schema}.entries
LANGUAGE plpgsql STABLE STRICT AS $body$
DECLARE
    wanted bytea := {schema}.key_of(path);
    found  {schema}.entries;
BEGIN
    SELECT * INTO found FROM {schema}.entries AS e WHERE e.store_id = tree AND sha256(e.key) = sha256(wanted);
    RETURN found;
END $body$;

CREATE OR REPLACE FUNCTION {schema}.now_ns() RETURNS bigint
LANGUAGE sql VOLATILE AS $body$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 $body$;

-- Have the directories above a path. The nearest that is there, and each that is made below it, is kept from being removed and
-- moved until the transaction ends: whoever wants to take it, or what is above it, waits, and then sees what was put into it.
CREATE OR REPLACE FUNCTION {schema}.make_parents(tree integer, path bytea) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    above   bytea := {schema}.parent_of(path);
    missing bytea[] := '{}';
BEGIN
    WHILE ({schema}.entry_at(tree, above)).type IS DISTINCT FROM 'dir' OR {schema}.share(tree, above) IS DISTINCT FROM 'dir' LOOP
        missing := above || missing;
        EXIT WHEN above = '';
        above := {schema}.parent_of(above);
    END LOOP;
    FOREACH above IN ARRAY missing LOOP
        PERFORM {schema}.make_directory(tree, above);
    END LOOP;
END $body$;

CREATE OR REPLACE FUNCTION {schema}.make_directory(tree integer, path bytea) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    there text;
BEGIN
    WHILE there IS NULL OR there = 'gone' LOOP
        INSERT INTO {schema}.entries AS e (store_id, path, key, type, kind, form, generation, size, records, raws, mode,
                                           mtime_ns, link, complete, unstable)
        VALUES (tree, {schema}.text_of(path), {schema}.key_of(path), 'dir', '', 'blob', 1, 0, 0, 0, 493, {schema}.now_ns(),
                '', true, false)
        ON CONFLICT (store_id, sha256(key)) DO UPDATE SET
            type = 'dir', kind = '', form = 'blob', generation = e.generation + 1, mode = 493, mtime_ns = excluded.mtime_ns,
            changed_at = clock_timestamp()
        WHERE e.type = 'gone';
        there := {schema}.share(tree, path);  -- also of one that somebody else has made meanwhile
    END LOOP;
    IF there <> 'dir' THEN
        RAISE EXCEPTION 'in the way: % is a %, not a directory', quote_literal({schema}.text_of(path)), there
            USING ERRCODE = 'XF005', HINT = 'remove it first, or choose another path';
    END IF;
END $body$;

CREATE OR REPLACE FUNCTION {schema}.parent_of(path bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$
    SELECT convert_to(coalesce(substring({schema}.latin($1) FROM '^(.*)/'), ''), 'LATIN1')
$body$;

-- What stands at a path; it stays so until the transaction ends.
CREATE OR REPLACE FUNCTION {schema}.share(tree integer, path bytea) RETURNS text
LANGUAGE plpgsql AS $body$
DECLARE
    wanted bytea := {schema}.key_of(path);
    found  text;
BEGIN
    SELECT e.type INTO found FROM {schema}.entries AS e WHERE e.store_id = tree AND sha256(e.key) = sha256(wanted) FOR SHARE;
    RETURN found;
END $body$;

-- The entry at a path, locked: writers of one entry go one by one. With "make" there is one afterwards, if only of type 'gone',
-- and a directory above it. Locks are taken in the order of keys, above before below, so nobody waits in a circle. Whoever follows
-- into files marks what it has brought (sql/entries_hold.sql) meanwhile: that bears every change but that of the path.
CREATE OR REPLACE FUNCTION {schema}.hold(tree integer, path bytea, make boolean) RETURNS {schema}.entries
LANGUAGE plpgsql AS $body$
DECLARE
    wanted bytea := {schema}.key_of(path);
    found  {schema}.entries := {schema}.entry_at(tree, path);
    has_parents boolean := false;
BEGIN
    LOOP
        IF make AND coalesce(found.type, 'gone') = 'gone' THEN
            PERFORM {schema}.make_parents(tree, path);
            has_parents := true;
            IF found.type IS NULL THEN
                INSERT INTO {schema}.entries (store_id, path, key, type, kind, form, generation, size, records, raws, mode,
                                              mtime_ns, link, complete, unstable)
                VALUES (tree, {schema}.text_of(path), wanted, 'gone', '', 'blob', 0, 0, 0, 0, 420, 0, '', true, false)
                ON CONFLICT (store_id, sha256(key)) DO NOTHING;
            END IF;
        END IF;
        SELECT * INTO found FROM {schema}.entries AS e
        WHERE e.store_id = tree AND sha256(e.key) = sha256(wanted) FOR NO KEY UPDATE;
        EXIT WHEN found.entry_id IS NOT NULL AND (has_parents OR NOT make OR found.type <> 'gone');
        -- It was removed meanwhile, and perhaps all above it; or the row that was waited for stands elsewhere now, and another
        -- one here, which that statement could not see.
        found := {schema}.entry_at(tree, path);
        EXIT WHEN found.entry_id IS NULL AND NOT make;
    END LOOP;
    RETURN found;
END $body$;

-- Refuse to remove or move a directory in a transaction that keeps its snapshot: what others have put into it since, which has
-- left no lock and no trace in the directory's row, would not be seen, and would stay without a directory above it.
CREATE OR REPLACE FUNCTION {schema}.check_snapshot(path bytea) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'what is in the directory % cannot be told in a transaction that is %',
            quote_literal({schema}.text_of(path)), upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'XF005', HINT = 'remove or move directories in a transaction that is READ COMMITTED';
    END IF;
END $body$;
