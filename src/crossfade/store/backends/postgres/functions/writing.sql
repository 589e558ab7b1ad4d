-- Writing content, so that it stands as a page of crossfade would have left it: rows, pieces of long records, segments, digest.
-- A segment is 1 MiB (1048576), the longest record of a table 16 MiB (16777216): model/entries.py.

-- gzip, zstd, lz4: decided by magic bytes, never by name.
CREATE OR REPLACE FUNCTION {schema}.is_compressed(head bytea) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$
    SELECT substr($1, 1, 2) = $$\x1f8b$$::bytea OR substr($1, 1, 4) IN ($$\x28b52ffd$$::bytea, $$\x04224d18$$::bytea)
$body$;

CREATE OR REPLACE FUNCTION {schema}.ends_line(bytes bytea) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$
    SELECT octet_length($1) > 0 AND get_byte($1, octet_length($1) - 1) = 10
$body$;

-- Write one run of records with the function of the entry's kind and layout.
CREATE OR REPLACE FUNCTION {schema}.fill(
    fill text, tree integer, entry bigint, captured jsonb, start bigint, content bytea, how text,
    INOUT records bigint, INOUT raws bigint
)
LANGUAGE plpgsql AS $body$
DECLARE
    more bigint;
    raw  bigint;
BEGIN
    EXECUTE format('SELECT f.records, f.raws FROM {schema}.%I($1, $2, $3, $4, $5, $6) AS f', fill)
    INTO more, raw USING tree, entry, captured, start, content, how;
    records := records + more;
    raws := raws + raw;
END $body$;

-- Write the content of an entry from an offset on, at which a record starts; or, with "long", a piece of the long record that
-- starts there. "within" is that of the entry: set where its last record is a long one.
CREATE OR REPLACE FUNCTION {schema}.pour(
    fill text, tree integer, entry bigint, captured jsonb, form text, declared text, low bigint, content bytea, long bigint,
    OUT within bigint, OUT records bigint, OUT raws bigint
)
LANGUAGE plpgsql AS $body$
DECLARE
    size   integer := octet_length(content);
    taken  integer := 0;  -- of content
    stretch bytea;
    behind bytea;
    torn   integer;
    ending integer;
BEGIN
    records := 0;
    raws := 0;
    within := long;
    IF form <> 'log' AND size BETWEEN 1 AND 16777216 THEN
        SELECT f.records, f.raws INTO records, raws FROM {schema}.fill(
            fill, tree, entry, captured, 0, content, CASE WHEN form <> declared THEN 'compressed' ELSE form END, records, raws
        ) AS f;
        RETURN;
    END IF;
    IF form <> 'log' AND size > 0 THEN
        within := 0;
        SELECT f.records, f.raws INTO records, raws
        FROM {schema}.fill(fill, tree, entry, captured, 0, ''::bytea, 'long', records, raws) AS f;
        INSERT INTO {schema}.chunks (store_id, entry_id, pos, data)
        SELECT tree, entry, start, substr(content, start + 1, 1048576) FROM generate_series(0, size - 1, 1048576) AS x (start);
        RETURN;
    END IF;
    WHILE taken < size LOOP
        IF within IS NOT NULL THEN  -- pieces, up to the end of the line
            stretch := substr(content, taken + 1, 1048576);
            ending := position($$\x0a$$::bytea IN stretch);
            stretch := CASE WHEN ending > 0 THEN substr(stretch, 1, ending) ELSE stretch END;
            INSERT INTO {schema}.chunks (store_id, entry_id, pos, data) VALUES (tree, entry, low + taken, stretch);
            taken := taken + octet_length(stretch);
            EXIT WHEN taken = size;
            CONTINUE WHEN ending = 0;
            within := NULL;
        END IF;
        stretch := substr(content, taken + 1, (1048576 - (low + taken) % 1048576)::integer);
        IF taken + octet_length(stretch) < size AND NOT {schema}.ends_line(stretch) THEN
            torn := octet_length(stretch) - {schema}.whole_lines(stretch);
            behind := substr(content, taken + octet_length(stretch) + 1, 16777216);
            ending := coalesce(nullif(position($$\x0a$$::bytea IN behind), 0), octet_length(behind));
            IF torn + ending > 16777216 THEN
                stretch := substr(stretch, 1, octet_length(stretch) - torn);
                within := low + taken + octet_length(stretch);
            ELSE
                stretch := stretch || substr(behind, 1, ending);
            END IF;
        END IF;
        IF stretch <> '' THEN
            SELECT f.records, f.raws INTO records, raws
            FROM {schema}.fill(fill, tree, entry, captured, low + taken, stretch, 'log', records, raws) AS f;
            taken := taken + octet_length(stretch);
        END IF;
        IF within IS NOT NULL THEN
            SELECT f.records, f.raws INTO records, raws
            FROM {schema}.fill(fill, tree, entry, captured, within, ''::bytea, 'long', records, raws) AS f;
        END IF;
    END LOOP;
END $body$;

-- How many bytes the whole lines at the head take.
CREATE OR REPLACE FUNCTION {schema}.whole_lines(bytes bytea) RETURNS integer
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    parts text[] := string_to_array(encode(bytes, 'escape'), E'\n');
BEGIN
    RETURN octet_length(bytes) - octet_length(decode(parts[cardinality(parts)], 'escape'));
END $body$;

-- The digest of an entry, and its segments from the one on in which "low" lies: those of an entry that has several are kept.
CREATE OR REPLACE FUNCTION {schema}.weigh(tree integer, entry bigint, of_kind text, whole bigint, low bigint) RETURNS bytea
LANGUAGE plpgsql AS $body$
DECLARE
    first  integer := low / 1048576;
    digest bytea;
BEGIN
    IF whole <= 1048576 OR NOT EXISTS (
        SELECT FROM {schema}.segments AS s WHERE s.store_id = tree AND s.entry_id = entry AND s.number < first
    ) THEN
        first := 0;
    END IF;
    DELETE FROM {schema}.segments AS s WHERE s.store_id = tree AND s.entry_id = entry AND s.number >= first;
    IF whole <= 1048576 THEN
        EXECUTE format('SELECT s.digest FROM {schema}.%I($1, $2, 0) AS s', 'sums_of_' || of_kind) INTO digest USING tree, entry;
        RETURN sha256(coalesce(digest, ''));
    END IF;
    EXECUTE format('INSERT INTO {schema}.segments (store_id, entry_id, number, pos, size, digest)'
                   ' SELECT $1, $2, s.number, s.pos, s.size, s.digest FROM {schema}.%I($1, $2, $3) AS s', 'sums_of_' || of_kind)
    USING tree, entry, first;
    SELECT sha256(string_agg(s.digest, ''::bytea ORDER BY s.number)) INTO digest
    FROM {schema}.segments AS s WHERE s.store_id = tree AND s.entry_id = entry;
    RETURN digest;
END $body$;

-- Take away the content of an entry from an offset on; how many records there were.
CREATE OR REPLACE FUNCTION {schema}.clear(
    tree integer, entry bigint, of_kind text, low bigint, OUT records bigint, OUT raws bigint
)
LANGUAGE plpgsql AS $body$
BEGIN
    IF of_kind <> '' THEN
        EXECUTE format('SELECT c.records, c.raws FROM {schema}.%I($1, $2, $3) AS c', 'clear_of_' || of_kind)
        INTO records, raws USING tree, entry, low;
    END IF;
    DELETE FROM {schema}.chunks AS c WHERE c.store_id = tree AND c.entry_id = entry AND c.pos >= low;
    DELETE FROM {schema}.quarantine AS q WHERE q.entry_id = entry AND q.pos >= low;
END $body$;

-- The content of an entry. No more than the server's largest value, 1 GB.
CREATE OR REPLACE FUNCTION {schema}.content(held {schema}.entries) RETURNS bytea
LANGUAGE plpgsql AS $body$
DECLARE
    found bytea := '';
BEGIN
    IF held.size > 0 THEN
        EXECUTE format('SELECT {schema}.%I($1, $2, 0, $3)', 'content_of_' || held.kind)
        INTO found USING held.store_id, held.entry_id, held.size;
    END IF;
    RETURN coalesce(found, '');
END $body$;

-- Have an entry hold these bytes, all of them new.
CREATE OR REPLACE FUNCTION {schema}.write(
    tree {schema}.stores, held {schema}.entries, placed record, bytes bytea, new_generation integer, new_mode integer, mtime bigint
) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    real   text := CASE WHEN {schema}.is_compressed(bytes) THEN 'blob' ELSE placed.form END;
    fill   text := 'fill_' || placed.kind || '_' || left(tree.fingerprint, 8);
    poured record;
BEGIN
    IF held.type = 'file' THEN
        PERFORM {schema}.clear(held.store_id, held.entry_id, held.kind, 0);
    END IF;
    SELECT * INTO poured
    FROM {schema}.pour(fill, held.store_id, held.entry_id, placed.captured, real, placed.form, 0, bytes, NULL);
    UPDATE {schema}.entries AS e SET
        type = 'file', kind = placed.kind, form = real, generation = new_generation, size = octet_length(bytes),
        records = poured.records, raws = poured.raws, mode = new_mode, mtime_ns = mtime, link = '',
        digest = {schema}.weigh(held.store_id, held.entry_id, placed.kind, octet_length(bytes), 0), within = poured.within,
        complete = true, unstable = false, changed_at = clock_timestamp()
    WHERE e.entry_id = held.entry_id;
END $body$;

-- Refuse to write where a file cannot stand.
CREATE OR REPLACE FUNCTION {schema}.check_file(held {schema}.entries) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    IF held.type NOT IN ('file', 'gone') THEN
        RAISE EXCEPTION 'in the way: % is a %', quote_literal(held.path), held.type
            USING ERRCODE = 'XF005', HINT = 'remove it first, or choose another path';
    END IF;
END $body$;

CREATE OR REPLACE FUNCTION {schema}.check_content(bytes bytea, mode integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $body$
BEGIN
    IF bytes IS NULL OR mode NOT BETWEEN 0 AND 4095 THEN
        RAISE EXCEPTION 'a file has bytes, if none, and a mode from 0 to 4095'
            USING ERRCODE = 'XF004', HINT = 'put(path, '''') makes an empty file; remove(path) removes one';
    END IF;
END $body$;

-- See "put" in docs/reference/sql.md.
CREATE OR REPLACE FUNCTION {schema}.put_at(name text, path bytea, body bytea, mode integer) RETURNS integer
LANGUAGE plpgsql AS $body$
DECLARE
    tree   {schema}.stores := {schema}.find_store(name);
    placed record;
    held   {schema}.entries;
BEGIN
    PERFORM {schema}.check_content(body, mode);
    SELECT * INTO placed FROM {schema}.place_in(tree, path);
    PERFORM {schema}.admit(tree.store_id, placed.kind);
    held := {schema}.hold(tree.store_id, path, true);
    PERFORM {schema}.check_file(held);
    PERFORM {schema}.write(
        tree, held, placed, body, held.generation + 1,
        coalesce(mode, CASE WHEN held.type = 'file' THEN held.mode ELSE 420 END), {schema}.now_ns()
    );
    RETURN held.generation + 1;
END $body$;

-- See "append" in docs/reference/sql.md.
CREATE OR REPLACE FUNCTION {schema}.append_at(name text, path bytea, bytes bytea) RETURNS bigint
LANGUAGE plpgsql AS $body$
DECLARE
    tree   {schema}.stores := {schema}.find_store(name);
    placed record;
    held   {schema}.entries;
BEGIN
    PERFORM {schema}.check_content(bytes, NULL);
    SELECT * INTO placed FROM {schema}.place_in(tree, path);
    PERFORM {schema}.admit(tree.store_id, placed.kind);
    held := {schema}.hold(tree.store_id, path, true);
    PERFORM {schema}.check_file(held);
    IF held.type = 'gone' THEN
        PERFORM {schema}.write(tree, held, placed, bytes, held.generation + 1, 420, {schema}.now_ns());
    ELSIF NOT held.complete THEN
        RAISE EXCEPTION 'the copy of % is not finished', quote_literal(held.path)
            USING ERRCODE = 'XF007', HINT = 'let the migration finish it, or put it whole';
    ELSIF held.form <> 'log' OR held.size < 4 OR held.kind <> placed.kind THEN  -- one record, or a head that may become another
        PERFORM {schema}.write(
            tree, held, placed, {schema}.content(held) || bytes, held.generation, held.mode, {schema}.now_ns()
        );
    ELSIF bytes <> '' THEN
        PERFORM {schema}.go_on(tree, held, placed.captured, bytes);
    END IF;
    RETURN held.size;
END $body$;

-- Let a log go on: behind its last line, or within it where it has no end yet.
CREATE OR REPLACE FUNCTION {schema}.go_on(tree {schema}.stores, held {schema}.entries, captured jsonb, bytes bytea) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    fill   text := 'fill_' || held.kind || '_' || left(tree.fingerprint, 8);
    whole  bigint := held.size + octet_length(bytes);
    low    bigint := held.size;
    long   bigint;
    row_at bigint := -1;
    row_why text;
    old    bytea;
    piece  record;
    gone   record;
    poured record;
BEGIN
    EXECUTE format('SELECT coalesce(t.at, -1), t.why, t.content FROM {schema}.%I($1, $2) AS t', 'tail_of_' || held.kind)
    INTO row_at, row_why, old USING held.store_id, held.entry_id;
    SELECT c.pos, c.data INTO piece FROM {schema}.chunks AS c
    WHERE c.store_id = held.store_id AND c.entry_id = held.entry_id ORDER BY c.pos DESC LIMIT 1;
    IF piece.pos >= row_at THEN  -- the last piece of a long record, or a record in quarantine
        old := piece.data;
        long := CASE WHEN row_why = 'long' AND {schema}.goes_on(held.store_id, held.entry_id, row_at, piece.pos) THEN row_at END;
        row_at := piece.pos;
    END IF;
    IF {schema}.ends_line(old) THEN
        long := NULL;
    ELSE
        low := row_at;
        bytes := old || bytes;
    END IF;
    SELECT 0::bigint AS records, 0::bigint AS raws INTO gone;
    IF long IS NOT NULL THEN
        DELETE FROM {schema}.chunks AS c WHERE c.store_id = held.store_id AND c.entry_id = held.entry_id AND c.pos = low;
    ELSIF low < held.size THEN
        SELECT * INTO gone FROM {schema}.clear(held.store_id, held.entry_id, held.kind, low);
    END IF;
    SELECT * INTO poured FROM {schema}.pour(fill, held.store_id, held.entry_id, captured, 'log', 'log', low, bytes, long);
    UPDATE {schema}.entries AS e SET
        size = whole, records = e.records - gone.records + poured.records, raws = e.raws - gone.raws + poured.raws,
        mtime_ns = {schema}.now_ns(), digest = {schema}.weigh(held.store_id, held.entry_id, held.kind, whole, low),
        within = poured.within, changed_at = clock_timestamp()
    WHERE e.entry_id = held.entry_id;
END $body$;

-- True where the piece at an offset belongs to the long record that began earlier.
CREATE OR REPLACE FUNCTION {schema}.goes_on(tree integer, entry bigint, began bigint, at bigint) RETURNS boolean
LANGUAGE plpgsql AS $body$
BEGIN
    RETURN at = began OR (at - began) % 1048576 = 0 AND EXISTS (
        SELECT FROM {schema}.chunks AS c
        WHERE c.store_id = tree AND c.entry_id = entry AND c.pos = at - 1048576 AND NOT {schema}.ends_line(c.data)
    );
END $body$;

-- See "remove" in docs/reference/sql.md.
CREATE OR REPLACE FUNCTION {schema}.remove_at(name text, path bytea) RETURNS boolean
LANGUAGE plpgsql AS $body$
DECLARE
    tree {schema}.stores := {schema}.find_store(name);
    held {schema}.entries;
BEGIN
    PERFORM {schema}.check_path(path);
    PERFORM {schema}.admit(tree.store_id, coalesce(({schema}.entry_at(tree.store_id, path)).kind, ''));
    held := {schema}.hold(tree.store_id, path, false);
    IF coalesce(held.type, 'gone') = 'gone' THEN
        RETURN false;
    END IF;
    IF held.type = 'dir' THEN
        PERFORM {schema}.check_snapshot(path);
        IF EXISTS (SELECT FROM {schema}.below(tree.store_id, path)) THEN
            RAISE EXCEPTION 'the directory % is not empty', quote_literal(held.path)
                USING ERRCODE = 'XF005', HINT = 'remove what is in it first';
        END IF;
    END IF;
    PERFORM {schema}.bury(held);
    RETURN true;
END $body$;

-- Leave a tombstone.
CREATE OR REPLACE FUNCTION {schema}.bury(held {schema}.entries) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    IF held.type = 'file' THEN
        PERFORM {schema}.clear(held.store_id, held.entry_id, held.kind, 0);
        DELETE FROM {schema}.segments AS s WHERE s.store_id = held.store_id AND s.entry_id = held.entry_id;
    END IF;
    UPDATE {schema}.entries AS e SET
        type = 'gone', size = 0, records = 0, raws = 0, link = '', digest = NULL, within = NULL, complete = true,
        unstable = false, generation = e.generation + 1, changed_at = clock_timestamp()
    WHERE e.entry_id = held.entry_id;
END $body$;

-- What is there below a directory, as a walk would meet it.
CREATE OR REPLACE FUNCTION {schema}.below(tree integer, path bytea) RETURNS SETOF {schema}.entries
LANGUAGE plpgsql STABLE AS $body$
DECLARE
    low  bytea := {schema}.key_of(path) || $$\x00$$::bytea;
    high bytea := {schema}.key_of(path) || $$\x01$$::bytea;
BEGIN
    RETURN QUERY
        SELECT * FROM {schema}.entries AS e
        WHERE e.store_id = tree AND e.type <> 'gone' AND e.key >= low AND e.key < high
          AND substring(e.key FROM 1 FOR 512) >= substring(low FROM 1 FOR 512)
          AND substring(e.key FROM 1 FOR 512) <= substring(high FROM 1 FOR 512)
        ORDER BY substring(e.key FROM 1 FOR 512), e.key;
END $body$;
