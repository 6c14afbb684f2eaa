-- What the configuration said, from the daemon's start that found it so until the next row.
--
-- The rules of 0001 hold here too, and those of 0006 about texts that are taken out.

CREATE TABLE configurations (
    key INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (key),
    -- section.key = value, a line each, in their order: what the files say. Empty where they say nothing.
    text TEXT NOT NULL CHECK (length(text) <= 65536)
) STRICT;

CREATE TRIGGER configurations_no_delete BEFORE DELETE ON configurations
BEGIN
    SELECT RAISE(ABORT, 'refused: configurations are never deleted');
END;

CREATE TRIGGER configurations_insert_needs_generation BEFORE INSERT ON configurations
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER configurations_in_open_generation BEFORE INSERT ON configurations
WHEN NEW.generation IS NOT (SELECT generation FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: that generation is not open');
END;

CREATE TRIGGER configurations_no_replace BEFORE INSERT ON configurations
WHEN EXISTS (SELECT 1 FROM configurations WHERE key = NEW.key)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in configurations');
END;

CREATE TRIGGER configurations_no_update BEFORE UPDATE ON configurations
WHEN (SELECT generation IS NULL OR redacts IS NULL OR mark IS NULL FROM gate)
    OR NEW.key IS NOT OLD.key
    OR NEW.generation IS NOT OLD.generation
    OR (NEW.text IS NOT OLD.text AND NEW.text IS NOT (SELECT replace(OLD.text, redacts, mark) FROM gate))
BEGIN
    SELECT RAISE(ABORT, 'refused: configurations never change');
END;

CREATE TRIGGER configurations_journal_insert AFTER INSERT ON configurations
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'configurations', CAST(NEW.key AS TEXT), 'insert', json_object(
            'key', NEW.key, 'generation', NEW.generation, 'text', NEW.text
        )
    FROM gate;
END;

-- A table's rule about names of tables cannot be altered; so it is made anew, with what it has.

CREATE TABLE redacted_anew (
    key INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (key),
    table_name TEXT NOT NULL CHECK (table_name IN (
        'generations', 'transactions', 'requests', 'plans', 'steps', 'events', 'refusals', 'ignores', 'work_backoff', 'work_history',
        'configurations'
    )),
    row_key TEXT NOT NULL,
    column_name TEXT NOT NULL,
    -- The event that vouches for it, of the transaction it belongs to. No foreign key: a record of a moment before that event
    -- has the row and not the event.
    event INTEGER CHECK (event > 0),
    digest BLOB NOT NULL CHECK (length(digest) = 32)
) STRICT;
INSERT INTO redacted_anew SELECT * FROM redacted ORDER BY key;
DROP TABLE redacted;
ALTER TABLE redacted_anew RENAME TO redacted;
CREATE INDEX redacted_by_row ON redacted (table_name, row_key);
CREATE INDEX redacted_by_event ON redacted (event);

CREATE TRIGGER redacted_no_delete BEFORE DELETE ON redacted
BEGIN
    SELECT RAISE(ABORT, 'refused: redacted is never deleted');
END;

CREATE TRIGGER redacted_insert_needs_generation BEFORE INSERT ON redacted
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER redacted_in_open_generation BEFORE INSERT ON redacted
WHEN NEW.generation IS NOT (SELECT generation FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: that generation is not open');
END;

CREATE TRIGGER redacted_no_replace BEFORE INSERT ON redacted
WHEN EXISTS (SELECT 1 FROM redacted WHERE key = NEW.key)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in redacted');
END;

CREATE TRIGGER redacted_no_update BEFORE UPDATE ON redacted
BEGIN
    SELECT RAISE(ABORT, 'refused: redacted never changes');
END;

CREATE TRIGGER redacted_journal_insert AFTER INSERT ON redacted
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'redacted', CAST(NEW.key AS TEXT), 'insert', json_object(
            'key', NEW.key, 'generation', NEW.generation, 'table_name', NEW.table_name, 'row_key', NEW.row_key,
            'column_name', NEW.column_name, 'event', NEW.event, 'digest', hex(NEW.digest)
        )
    FROM gate;
END;
