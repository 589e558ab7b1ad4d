-- A guard against mistakes, not against malice: a statement by hand would leave columns, bodies and digests apart.
-- Sessions of crossfade, and its functions, say who they are in crossfade.origin; so can you: SET crossfade.origin = 'by hand'.

CREATE OR REPLACE FUNCTION {schema}.refuse_by_hand() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'TRUNCATE of %.% is refused: nobody who follows this tree would hear of it', TG_TABLE_SCHEMA, TG_TABLE_NAME
            USING ERRCODE = 'XF001', HINT = format('SELECT %I.remove(path) for each entry', TG_TABLE_SCHEMA);
    END IF;
    RAISE EXCEPTION '% on %.% is refused: columns, content and digests would part', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'XF001',
              HINT = format('write by SELECT %I.put(path, body), append(path, line), remove(path) or move(path, path)', TG_TABLE_SCHEMA);
END $body$;

-- As above, for "entries"; and hold the writers' lock until the end, so that the last look at the feed can wait for all of us.
-- A lock of our own, because the table's would have to wait for a vacuum, too.
CREATE OR REPLACE FUNCTION {schema}.admit_writer() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF coalesce(current_setting('crossfade.origin', true), '') = '' THEN
        RAISE EXCEPTION '% on %.% is refused: columns, content and digests would part', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
            USING ERRCODE = 'XF001',
                  HINT = format('write by SELECT %I.put(path, body), append(path, line), remove(path) or move(path, path)', TG_TABLE_SCHEMA);
    END IF;
    PERFORM pg_advisory_xact_lock_shared(hashtext('crossfade writers {schema}'), 0);
    RETURN NULL;
END $body$;
