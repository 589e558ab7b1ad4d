-- What watches over "entries", "segments" and "chunks". A kind's table gets its own triggers when it is made.

CREATE OR REPLACE TRIGGER a_writer BEFORE INSERT OR UPDATE OR DELETE ON {schema}.entries
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.admit_writer();
CREATE OR REPLACE TRIGGER inserted AFTER INSERT ON {schema}.entries REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.note_changes();
CREATE OR REPLACE TRIGGER updated AFTER UPDATE ON {schema}.entries REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.note_changes();
CREATE OR REPLACE TRIGGER deleted AFTER DELETE ON {schema}.entries REFERENCING OLD TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.note_changes();
CREATE OR REPLACE TRIGGER not_at_once BEFORE TRUNCATE ON {schema}.entries
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_by_hand();

CREATE OR REPLACE TRIGGER by_hand BEFORE INSERT OR UPDATE OR DELETE ON {schema}.segments
    FOR EACH STATEMENT WHEN (coalesce(current_setting('crossfade.origin', true), '') = '')
    EXECUTE FUNCTION {schema}.refuse_by_hand();
CREATE OR REPLACE TRIGGER not_at_once BEFORE TRUNCATE ON {schema}.segments
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_by_hand();
CREATE OR REPLACE TRIGGER by_hand BEFORE INSERT OR UPDATE OR DELETE ON {schema}.chunks
    FOR EACH STATEMENT WHEN (coalesce(current_setting('crossfade.origin', true), '') = '')
    EXECUTE FUNCTION {schema}.refuse_by_hand();
CREATE OR REPLACE TRIGGER not_at_once BEFORE TRUNCATE ON {schema}.chunks
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_by_hand();
