-- Each time the record was damaged, lost or behind, and was written again from what was left. What is lost is said here.
--
-- The rules of 0001 hold here too.

CREATE TABLE rebuilds (
    key INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (key),
    cause TEXT NOT NULL CHECK (cause IN ('damaged', 'lost', 'behind')),
    found TEXT NOT NULL CHECK (length(found) <= 500),
    kept TEXT NOT NULL CHECK (length(kept) <= 200),
    base TEXT NOT NULL CHECK (length(base) <= 200),
    recorded INTEGER NOT NULL CHECK (recorded >= 0),
    continued INTEGER NOT NULL CHECK (continued >= 0),
    stopped INTEGER NOT NULL CHECK (stopped >= 0),
    refused INTEGER NOT NULL CHECK (refused >= 0),
    lost TEXT NOT NULL CHECK (length(lost) <= 1000),
    at_us INTEGER NOT NULL,
    at_monotonic_us INTEGER NOT NULL,
    at_boot BLOB NOT NULL CHECK (length(at_boot) = 16)
) STRICT;

CREATE TRIGGER rebuilds_no_delete BEFORE DELETE ON rebuilds
BEGIN
    SELECT RAISE(ABORT, 'refused: rebuilds are never deleted');
END;

CREATE TRIGGER rebuilds_insert_needs_generation BEFORE INSERT ON rebuilds
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER rebuilds_in_open_generation BEFORE INSERT ON rebuilds
WHEN NEW.generation IS NOT (SELECT generation FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: that generation is not open');
END;

CREATE TRIGGER rebuilds_no_replace BEFORE INSERT ON rebuilds
WHEN EXISTS (SELECT 1 FROM rebuilds WHERE key = NEW.key)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in rebuilds');
END;

CREATE TRIGGER rebuilds_no_update BEFORE UPDATE ON rebuilds
BEGIN
    SELECT RAISE(ABORT, 'refused: rebuilds never change');
END;

CREATE TRIGGER rebuilds_journal_insert AFTER INSERT ON rebuilds
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'rebuilds', CAST(NEW.key AS TEXT), 'insert', json_object(
            'key', NEW.key, 'generation', NEW.generation, 'cause', NEW.cause, 'found', NEW.found, 'kept', NEW.kept, 'base', NEW.base,
            'recorded', NEW.recorded, 'continued', NEW.continued, 'stopped', NEW.stopped, 'refused', NEW.refused, 'lost', NEW.lost,
            'at_us', NEW.at_us, 'at_monotonic_us', NEW.at_monotonic_us, 'at_boot', hex(NEW.at_boot)
        )
    FROM gate;
END;

-- The code that came with this. Only a migration adds codes.
DROP TRIGGER error_codes_no_insert;
INSERT INTO error_codes (code) VALUES ('store.newer');
CREATE TRIGGER error_codes_no_insert BEFORE INSERT ON error_codes
BEGIN
    SELECT RAISE(ABORT, 'refused: error_codes belong to the schema');
END;
