-- Moving: an entry keeps its rows and gets another path, unless the layout reads it otherwise there.

-- See "move" in docs/reference/sql.md.
CREATE OR REPLACE FUNCTION {schema}.move_at(name text, old bytea, new bytea) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    tree  {schema}.stores := {schema}.find_store(name);
    there {schema}.entries;
    moved text;
BEGIN
    PERFORM {schema}.check_path(old), {schema}.check_path(new);
    there := {schema}.entry_at(tree.store_id, old);
    IF coalesce(there.type, 'gone') = 'gone' THEN
        RAISE EXCEPTION 'there is nothing at %', quote_literal({schema}.text_of(old))
            USING ERRCODE = 'XF006', HINT = 'SELECT path FROM {schema}.entries ORDER BY key';
    END IF;
    IF old = new THEN
        RETURN;
    END IF;
    IF there.type = 'dir' THEN
        PERFORM {schema}.check_snapshot(old);
        -- two of them, into one another, would wait in a circle
        PERFORM pg_advisory_xact_lock(hashtext('crossfade move {schema}'), tree.store_id);
        IF substr(new, 1, octet_length(old) + 1) = old || convert_to('/', 'UTF8') THEN
            RAISE EXCEPTION 'a directory cannot be moved into itself'
                USING ERRCODE = 'XF005', HINT = 'choose another path';
        END IF;
    END IF;
    moved := {schema}.move_one(tree, old, new);
    IF moved = 'gone' THEN
        RAISE EXCEPTION 'there is nothing at % any more', quote_literal({schema}.text_of(old))
            USING ERRCODE = 'XF006', HINT = 'it was removed or moved meanwhile';
    END IF;
    IF moved = 'dir' AND there.type <> 'dir' THEN
        RAISE EXCEPTION 'a directory took the place of % meanwhile', quote_literal({schema}.text_of(old))
            USING ERRCODE = 'XF005', HINT = 'move it once more';
    END IF;
    IF moved = 'dir' THEN
        PERFORM {schema}.move_inner(tree, old, new);
    END IF;
END $body$;

-- Move what is in a directory that was moved. Whoever has put something into a directory further down is waited for when that is
-- moved, and what it has put is seen by a later statement only: until one sees nothing. All directories are locked by then.
CREATE OR REPLACE FUNCTION {schema}.move_inner(tree {schema}.stores, old bytea, new bytea) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    inner_one bytea;
    more      boolean := true;
BEGIN
    WHILE more LOOP
        more := false;
        FOR inner_one IN SELECT {schema}.path_of(b.key) FROM {schema}.below(tree.store_id, old) AS b LOOP
            more := true;
            IF ({schema}.entry_at(tree.store_id, inner_one)).type <> 'gone' THEN  -- else nothing is to be made where it would go
                PERFORM {schema}.move_one(tree, inner_one, new || substr(inner_one, octet_length(old) + 1));
            END IF;
        END LOOP;
    END LOOP;
END $body$;

-- Move one entry, and nothing that is in it; its type. 'gone', and nothing is moved, where it went meanwhile.
CREATE OR REPLACE FUNCTION {schema}.move_one(tree {schema}.stores, old bytea, new bytea) RETURNS text
LANGUAGE plpgsql AS $body$
DECLARE
    placed record;
    before record;
    source {schema}.entries;
    target {schema}.entries;
BEGIN
    SELECT * INTO before FROM {schema}.place(tree.fingerprint, old);
    SELECT * INTO placed FROM {schema}.place_in(tree, new);
    PERFORM {schema}.admit(tree.store_id, before.kind), {schema}.admit(tree.store_id, placed.kind);
    IF {schema}.key_of(old) < {schema}.key_of(new) THEN  -- locks in the order of keys
        PERFORM {schema}.make_parents(tree.store_id, new);
        source := {schema}.hold(tree.store_id, old, false);
        target := {schema}.hold(tree.store_id, new, true);
    ELSE
        target := {schema}.hold(tree.store_id, new, true);
        source := {schema}.hold(tree.store_id, old, false);
    END IF;
    IF coalesce(source.type, 'gone') = 'gone' THEN
        RETURN 'gone';
    END IF;
    IF target.type = 'dir' OR (source.type = 'dir' AND target.type <> 'gone') THEN
        RAISE EXCEPTION 'in the way: % is a %', quote_literal(target.path), target.type
            USING ERRCODE = 'XF005', HINT = 'remove it first, or choose another path';
    END IF;
    IF target.type <> 'gone' THEN
        PERFORM {schema}.bury(target);
    END IF;
    PERFORM {schema}.change_places(source, target);
    IF source.type = 'file' AND (placed.kind, placed.captured) IS DISTINCT FROM (source.kind, before.captured) THEN
        PERFORM {schema}.write(
            tree, source, placed, {schema}.content(source), greatest(source.generation, target.generation) + 2, source.mode,
            source.mtime_ns
        );
    END IF;
    RETURN source.type;
END $body$;

-- Have an entry stand at the path of a tombstone, and the tombstone at its. What the file system said goes with the paths.
CREATE OR REPLACE FUNCTION {schema}.change_places(source {schema}.entries, target {schema}.entries) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM FROM {schema}.entries AS e  -- whoever marks what stands at these paths is waited for
    WHERE e.entry_id IN (source.entry_id, target.entry_id) ORDER BY e.key FOR UPDATE;
    UPDATE {schema}.entries AS e SET key = $$\x00$$::bytea || source.key WHERE e.entry_id = target.entry_id;
    UPDATE {schema}.entries AS e SET
        key = target.key, path = target.path, generation = greatest(source.generation, target.generation) + 1,
        changed_at = clock_timestamp()
    WHERE e.entry_id = source.entry_id;
    UPDATE {schema}.entries AS e SET
        key = source.key, path = source.path, kind = source.kind, form = source.form, mode = source.mode,
        generation = source.generation + 1, changed_at = clock_timestamp()
    WHERE e.entry_id = target.entry_id;
    UPDATE {schema}.marks AS m SET entry_id = -m.entry_id WHERE m.entry_id = source.entry_id;
    UPDATE {schema}.marks AS m SET entry_id = source.entry_id WHERE m.entry_id = target.entry_id;
    UPDATE {schema}.marks AS m SET entry_id = target.entry_id WHERE m.entry_id = -source.entry_id;
    DELETE FROM {schema}.quarantine AS q WHERE q.entry_id IN (source.entry_id, target.entry_id) AND q.pos IS NULL;
    UPDATE {schema}.quarantine AS q SET key = target.key, path = target.path WHERE q.entry_id = source.entry_id;
END $body$;
