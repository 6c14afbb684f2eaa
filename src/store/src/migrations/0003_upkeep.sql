-- What nobody is to be offered (ignores), what is left alone for a while (work_backoff), and how work went (work_history).
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

-- Work that is left alone by what runs unattended. Set by a failure, then with its transaction, or by a person. Active until
-- until_us, counted by the boot's own clock as long as it runs. One live row, without an end, a subject and a process.
-- transaction_id is no foreign key, here and in work_history: a row outlives what it is about.
CREATE TABLE work_backoff (
    key INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (key),
    -- A package, or * for the whole system.
    subject TEXT NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
    -- A kind of transaction, or * for any.
    process TEXT NOT NULL CHECK (process IN (
        '*', 'install', 'remove', 'purge', 'update', 'upgrade', 'full-upgrade', 'autoremove', 'downgrade', 'reinstall', 'hold',
        'unhold', 'rollback'
    )),
    failures INTEGER NOT NULL CHECK (failures >= 0),
    error_code TEXT REFERENCES error_codes (code),
    error_text TEXT,
    transaction_id TEXT,
    comment TEXT NOT NULL CHECK (length(comment) <= 256),
    uid INTEGER NOT NULL,
    user TEXT NOT NULL,
    set_us INTEGER NOT NULL,
    set_monotonic_us INTEGER NOT NULL,
    set_boot BLOB NOT NULL CHECK (length(set_boot) = 16),
    until_us INTEGER NOT NULL,
    -- Ended before its time, or followed by another: in which generation, when and why.
    ended_generation INTEGER REFERENCES generations (key),
    ended_us INTEGER,
    ended_monotonic_us INTEGER,
    ended_boot BLOB CHECK (length(ended_boot) = 16),
    ended_by TEXT CHECK (ended_by IN ('success', 'person', 'failure', 'clock')),
    CHECK ((error_code IS NULL) = (error_text IS NULL)),
    CHECK ((transaction_id IS NULL) = (failures = 0)),
    CHECK ((ended_by IS NULL) = (ended_us IS NULL) AND (ended_us IS NULL) = (ended_generation IS NULL))
) STRICT;
CREATE UNIQUE INDEX work_backoff_live ON work_backoff (subject, process) WHERE ended_us IS NULL;
CREATE INDEX work_backoff_by_end ON work_backoff (ended_us);

CREATE TRIGGER work_backoff_no_delete BEFORE DELETE ON work_backoff
BEGIN
    SELECT RAISE(ABORT, 'refused: work_backoff is never deleted');
END;

CREATE TRIGGER work_backoff_insert_needs_generation BEFORE INSERT ON work_backoff
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER work_backoff_in_open_generation BEFORE INSERT ON work_backoff
WHEN NEW.generation IS NOT (SELECT generation FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: that generation is not open');
END;

CREATE TRIGGER work_backoff_no_replace BEFORE INSERT ON work_backoff
WHEN EXISTS (SELECT 1 FROM work_backoff WHERE key = NEW.key)
    OR (NEW.ended_us IS NULL AND EXISTS (
        SELECT 1 FROM work_backoff WHERE ended_us IS NULL AND subject = NEW.subject AND process = NEW.process
    ))
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in work_backoff');
END;

CREATE TRIGGER work_backoff_codes BEFORE INSERT ON work_backoff
WHEN NEW.error_code IS NOT NULL AND NOT EXISTS (SELECT 1 FROM error_codes WHERE code = NEW.error_code)
BEGIN
    SELECT RAISE(ABORT, 'refused: unknown error code');
END;

CREATE TRIGGER work_backoff_update_needs_generation BEFORE UPDATE ON work_backoff
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER work_backoff_fixed_columns BEFORE UPDATE ON work_backoff
WHEN NEW.key IS NOT OLD.key
    OR NEW.generation IS NOT OLD.generation
    OR NEW.subject IS NOT OLD.subject
    OR NEW.process IS NOT OLD.process
    OR NEW.failures IS NOT OLD.failures
    OR NEW.error_code IS NOT OLD.error_code
    OR NEW.error_text IS NOT OLD.error_text
    OR NEW.transaction_id IS NOT OLD.transaction_id
    OR NEW.comment IS NOT OLD.comment
    OR NEW.uid IS NOT OLD.uid
    OR NEW.user IS NOT OLD.user
    OR NEW.set_us IS NOT OLD.set_us
    OR NEW.set_monotonic_us IS NOT OLD.set_monotonic_us
    OR NEW.set_boot IS NOT OLD.set_boot
    OR NEW.until_us IS NOT OLD.until_us
BEGIN
    SELECT RAISE(ABORT, 'refused: only status and time columns change');
END;

CREATE TRIGGER work_backoff_one_end BEFORE UPDATE ON work_backoff
WHEN OLD.ended_us IS NOT NULL
    AND (NEW.ended_us IS NOT OLD.ended_us OR NEW.ended_generation IS NOT OLD.ended_generation OR NEW.ended_by IS NOT OLD.ended_by
        OR NEW.ended_monotonic_us IS NOT OLD.ended_monotonic_us OR NEW.ended_boot IS NOT OLD.ended_boot)
BEGIN
    SELECT RAISE(ABORT, 'refused: what has ended stays ended');
END;

CREATE TRIGGER work_backoff_journal_insert AFTER INSERT ON work_backoff
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'work_backoff', CAST(NEW.key AS TEXT), 'insert', json_object(
            'key', NEW.key, 'generation', NEW.generation, 'subject', NEW.subject, 'process', NEW.process, 'failures', NEW.failures,
            'error_code', NEW.error_code, 'error_text', NEW.error_text, 'transaction_id', NEW.transaction_id, 'comment', NEW.comment,
            'uid', NEW.uid, 'user', NEW.user, 'set_us', NEW.set_us, 'set_monotonic_us', NEW.set_monotonic_us,
            'set_boot', hex(NEW.set_boot), 'until_us', NEW.until_us
        )
    FROM gate;
END;

CREATE TRIGGER work_backoff_journal_update AFTER UPDATE ON work_backoff
WHEN OLD.ended_us IS NOT NEW.ended_us
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'work_backoff', CAST(NEW.key AS TEXT), 'update', json_object(
            'ended_generation', json_array(OLD.ended_generation, NEW.ended_generation), 'ended_us', json_array(OLD.ended_us, NEW.ended_us),
            'ended_by', json_array(OLD.ended_by, NEW.ended_by)
        )
    FROM gate;
END;

-- How work went: a line when it begins and one when it ends, for each package that was asked for, or for * when none was.
-- Without triggers that journal it: it is only appended to, and has its generation, run and time.
CREATE TABLE work_history (
    key INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (key),
    run INTEGER NOT NULL REFERENCES runs (key) DEFERRABLE INITIALLY DEFERRED,
    subject TEXT NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
    process TEXT NOT NULL CHECK (process IN (
        'install', 'remove', 'purge', 'update', 'upgrade', 'full-upgrade', 'autoremove', 'downgrade', 'reinstall', 'hold',
        'unhold', 'rollback'
    )),
    event TEXT NOT NULL CHECK (event IN ('started', 'finished', 'failed', 'cancelled')),
    transaction_id TEXT NOT NULL,
    error_code TEXT REFERENCES error_codes (code),
    error_text TEXT,
    at_us INTEGER NOT NULL,
    at_monotonic_us INTEGER NOT NULL,
    at_boot BLOB NOT NULL CHECK (length(at_boot) = 16),
    CHECK ((error_code IS NULL) = (error_text IS NULL)),
    CHECK (error_code IS NULL OR event IN ('failed', 'cancelled'))
) STRICT;
CREATE INDEX work_history_by_subject ON work_history (subject);

CREATE TRIGGER work_history_no_delete BEFORE DELETE ON work_history
BEGIN
    SELECT RAISE(ABORT, 'refused: work_history is never deleted');
END;

CREATE TRIGGER work_history_insert_needs_generation BEFORE INSERT ON work_history
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER work_history_in_open_generation BEFORE INSERT ON work_history
WHEN NEW.generation IS NOT (SELECT generation FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: that generation is not open');
END;

CREATE TRIGGER work_history_no_replace BEFORE INSERT ON work_history
WHEN EXISTS (SELECT 1 FROM work_history WHERE key = NEW.key)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in work_history');
END;

CREATE TRIGGER work_history_codes BEFORE INSERT ON work_history
WHEN NEW.error_code IS NOT NULL AND NOT EXISTS (SELECT 1 FROM error_codes WHERE code = NEW.error_code)
BEGIN
    SELECT RAISE(ABORT, 'refused: unknown error code');
END;

CREATE TRIGGER work_history_no_update BEFORE UPDATE ON work_history
BEGIN
    SELECT RAISE(ABORT, 'refused: work_history never changes');
END;

-- The codes that came with these tables. Only a migration adds codes.
DROP TRIGGER error_codes_no_insert;
INSERT INTO error_codes (code) VALUES ('ignore.unknown'), ('backoff.active');
CREATE TRIGGER error_codes_no_insert BEFORE INSERT ON error_codes
BEGIN
    SELECT RAISE(ABORT, 'refused: error_codes belong to the schema');
END;
