-- What nobody is to be offered (ignores).
--
-- The rules of 0001 hold here too. A row is never edited: who changes their mind ends it and writes another, so that the
-- record says what held when.

-- A live row, without an end, is one of its kind: what is said again ends what was said before.
CREATE TABLE ignores (
    key INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (key),
    -- NAME[:ARCH][=VERSION] with * and ?, and the part of the sources that it is narrowed to.
    pattern TEXT NOT NULL CHECK (length(pattern) BETWEEN 1 AND 512),
    source_kind TEXT CHECK (source_kind IN ('suite', 'origin')),
    source_name TEXT CHECK (length(source_name) BETWEEN 1 AND 128),
    comment TEXT NOT NULL CHECK (length(comment) BETWEEN 1 AND 256),
    until_us INTEGER,
    uid INTEGER NOT NULL,
    user TEXT NOT NULL,
    added_us INTEGER NOT NULL,
    added_monotonic_us INTEGER NOT NULL,
    added_boot BLOB NOT NULL CHECK (length(added_boot) = 16),
    -- Taken back: in which generation, and when.
    removed_generation INTEGER REFERENCES generations (key),
    removed_us INTEGER,
    removed_monotonic_us INTEGER,
    removed_boot BLOB CHECK (length(removed_boot) = 16),
    CHECK ((source_kind IS NULL) = (source_name IS NULL)),
    CHECK ((removed_generation IS NULL) = (removed_us IS NULL))
) STRICT;
CREATE UNIQUE INDEX ignores_live ON ignores (pattern, coalesce(source_kind, ''), coalesce(source_name, '')) WHERE removed_us IS NULL;
CREATE INDEX ignores_by_end ON ignores (removed_us);

CREATE TRIGGER ignores_no_delete BEFORE DELETE ON ignores
BEGIN
    SELECT RAISE(ABORT, 'refused: ignores are never deleted');
END;

CREATE TRIGGER ignores_insert_needs_generation BEFORE INSERT ON ignores
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER ignores_in_open_generation BEFORE INSERT ON ignores
WHEN NEW.generation IS NOT (SELECT generation FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: that generation is not open');
END;

CREATE TRIGGER ignores_no_replace BEFORE INSERT ON ignores
WHEN EXISTS (SELECT 1 FROM ignores WHERE key = NEW.key)
    OR (
        NEW.removed_us IS NULL AND EXISTS (
            SELECT 1 FROM ignores
            WHERE removed_us IS NULL AND pattern = NEW.pattern AND coalesce(source_kind, '') = coalesce(NEW.source_kind, '')
                AND coalesce(source_name, '') = coalesce(NEW.source_name, '')
        )
    )
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in ignores');
END;

CREATE TRIGGER ignores_update_needs_generation BEFORE UPDATE ON ignores
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER ignores_fixed_columns BEFORE UPDATE ON ignores
WHEN NEW.key IS NOT OLD.key
    OR NEW.generation IS NOT OLD.generation
    OR NEW.pattern IS NOT OLD.pattern
    OR NEW.source_kind IS NOT OLD.source_kind
    OR NEW.source_name IS NOT OLD.source_name
    OR NEW.comment IS NOT OLD.comment
    OR NEW.until_us IS NOT OLD.until_us
    OR NEW.uid IS NOT OLD.uid
    OR NEW.user IS NOT OLD.user
    OR NEW.added_us IS NOT OLD.added_us
    OR NEW.added_monotonic_us IS NOT OLD.added_monotonic_us
    OR NEW.added_boot IS NOT OLD.added_boot
BEGIN
    SELECT RAISE(ABORT, 'refused: only status and time columns change');
END;

CREATE TRIGGER ignores_one_end BEFORE UPDATE ON ignores
WHEN OLD.removed_us IS NOT NULL
    AND (NEW.removed_us IS NOT OLD.removed_us OR NEW.removed_generation IS NOT OLD.removed_generation
        OR NEW.removed_monotonic_us IS NOT OLD.removed_monotonic_us OR NEW.removed_boot IS NOT OLD.removed_boot)
BEGIN
    SELECT RAISE(ABORT, 'refused: what is removed stays removed');
END;

CREATE TRIGGER ignores_journal_insert AFTER INSERT ON ignores
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'ignores', CAST(NEW.key AS TEXT), 'insert', json_object(
            'key', NEW.key, 'generation', NEW.generation, 'pattern', NEW.pattern, 'source_kind', NEW.source_kind,
            'source_name', NEW.source_name, 'comment', NEW.comment, 'until_us', NEW.until_us, 'uid', NEW.uid, 'user', NEW.user,
            'added_us', NEW.added_us, 'added_monotonic_us', NEW.added_monotonic_us, 'added_boot', hex(NEW.added_boot)
        )
    FROM gate;
END;

CREATE TRIGGER ignores_journal_update AFTER UPDATE ON ignores
WHEN OLD.removed_us IS NOT NEW.removed_us
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'ignores', CAST(NEW.key AS TEXT), 'update', json_object(
            'removed_generation', json_array(OLD.removed_generation, NEW.removed_generation),
            'removed_us', json_array(OLD.removed_us, NEW.removed_us)
        )
    FROM gate;
END;

-- The codes that came with these tables. Only a migration adds codes.
DROP TRIGGER error_codes_no_insert;
INSERT INTO error_codes (code) VALUES ('ignore.unknown');
CREATE TRIGGER error_codes_no_insert BEFORE INSERT ON error_codes
BEGIN
    SELECT RAISE(ABORT, 'refused: error_codes belong to the schema');
END;
