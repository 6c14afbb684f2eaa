-- A text taken out of the record: where it stood there is a mark with the number of the change-set that says who did it and why.
--
-- The rules of 0001 hold here too, but for this: while a redaction is open (gate.redacts), the texts of people and programs may
-- change, and only from what they are to the same with every occurrence of that text replaced by that mark. The triggers below
-- refuse everything else as before. An event keeps its hash; a row of redacted, which the event "redacted" vouches for, has the digest of
-- what it is now.
ALTER TABLE gate ADD COLUMN redacts TEXT;
ALTER TABLE gate ADD COLUMN redacts_json TEXT;
ALTER TABLE gate ADD COLUMN mark TEXT;

-- A place from which a text was taken, and the digest of what is there now: of an event the hash over its columns, of a
-- request or a plan that of its bytes, of all else that of the column.
CREATE TABLE redacted (
    key INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (key),
    table_name TEXT NOT NULL CHECK (table_name IN (
        'generations', 'transactions', 'requests', 'plans', 'steps', 'events', 'refusals', 'ignores', 'work_backoff', 'work_history'
    )),
    row_key TEXT NOT NULL,
    column_name TEXT NOT NULL,
    -- The event that vouches for it, of the transaction it belongs to. No foreign key: a record of a moment before that event
    -- has the row and not the event.
    event INTEGER CHECK (event > 0),
    digest BLOB NOT NULL CHECK (length(digest) = 32)
) STRICT;
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

-- The event that vouches for them. A list of names that SQLite checks is changed by making the table anew.
CREATE TABLE events_anew (
    seq INTEGER PRIMARY KEY,
    transaction_key INTEGER NOT NULL REFERENCES transactions (key),
    attempt INTEGER,
    event TEXT NOT NULL CHECK (event IN (
        'created', 'prepared', 'denied', 'queued', 'started', 'step-started', 'step-ended', 'item-changed', 'noted',
        'cancel-requested', 'failed', 'expired', 'undo-started', 'completed', 'undo-finished', 'interrupted', 'resumed',
        'attention-needed', 'accepted', 'redacted'
    )),
    step TEXT CHECK (step IN ('fetch', 'secure', 'apply', 'services', 'check', 'commit')),
    direction TEXT CHECK (direction IN ('forward', 'undo')),
    state TEXT CHECK (state IN (
        'pending', 'running', 'completed', 'failed', 'skipped', 'unknown', 'undone', 'undo_failed'
    )),
    code TEXT REFERENCES error_codes (code),
    subject TEXT,
    text TEXT,
    after TEXT,
    number INTEGER,
    evidence BLOB CHECK (length(evidence) = 32),
    at_us INTEGER NOT NULL,
    at_monotonic_us INTEGER NOT NULL,
    at_boot BLOB NOT NULL CHECK (length(at_boot) = 16),
    generation INTEGER NOT NULL REFERENCES generations (key),
    run INTEGER NOT NULL REFERENCES runs (key) DEFERRABLE INITIALLY DEFERRED,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO events_anew SELECT * FROM events ORDER BY seq;
DROP TABLE events;
ALTER TABLE events_anew RENAME TO events;
CREATE INDEX events_by_transaction ON events (transaction_key);

CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'refused: events are never deleted');
END;

CREATE TRIGGER events_insert_needs_generation BEFORE INSERT ON events
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER events_in_open_generation BEFORE INSERT ON events
WHEN NEW.generation IS NOT (SELECT generation FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: that generation is not open');
END;

-- Refuses REPLACE as well: the next number is never taken.
CREATE TRIGGER events_without_gap BEFORE INSERT ON events
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)
BEGIN
    SELECT RAISE(ABORT, 'refused: events are numbered without gaps');
END;

CREATE TRIGGER events_codes BEFORE INSERT ON events
WHEN NEW.code IS NOT NULL AND NOT EXISTS (SELECT 1 FROM error_codes WHERE code = NEW.code)
BEGIN
    SELECT RAISE(ABORT, 'refused: unknown error code');
END;

-- What never changes, but for a redaction.

CREATE TRIGGER events_no_update BEFORE UPDATE ON events
WHEN (SELECT generation IS NULL OR redacts IS NULL OR mark IS NULL FROM gate)
    OR NEW.seq IS NOT OLD.seq
    OR NEW.transaction_key IS NOT OLD.transaction_key
    OR NEW.attempt IS NOT OLD.attempt
    OR NEW.event IS NOT OLD.event
    OR NEW.step IS NOT OLD.step
    OR NEW.direction IS NOT OLD.direction
    OR NEW.state IS NOT OLD.state
    OR NEW.code IS NOT OLD.code
    OR NEW.subject IS NOT OLD.subject
    OR NEW.after IS NOT OLD.after
    OR NEW.number IS NOT OLD.number
    OR NEW.evidence IS NOT OLD.evidence
    OR NEW.at_us IS NOT OLD.at_us
    OR NEW.at_monotonic_us IS NOT OLD.at_monotonic_us
    OR NEW.at_boot IS NOT OLD.at_boot
    OR NEW.generation IS NOT OLD.generation
    OR NEW.run IS NOT OLD.run
    OR NEW.hash IS NOT OLD.hash
    OR (NEW.text IS NOT OLD.text AND NEW.text IS NOT (SELECT replace(OLD.text, redacts, mark) FROM gate))
BEGIN
    SELECT RAISE(ABORT, 'refused: events never change');
END;

DROP TRIGGER generations_no_update;
CREATE TRIGGER generations_no_update BEFORE UPDATE ON generations
WHEN (SELECT generation IS NULL OR redacts IS NULL OR mark IS NULL FROM gate)
    OR NEW.key IS NOT OLD.key
    OR NEW.uid IS NOT OLD.uid
    OR NEW.origin IS NOT OLD.origin
    OR NEW.opened_us IS NOT OLD.opened_us
    OR NEW.opened_monotonic_us IS NOT OLD.opened_monotonic_us
    OR NEW.opened_boot IS NOT OLD.opened_boot
    OR NEW.run IS NOT OLD.run
    OR (NEW.comment IS NOT OLD.comment AND NEW.comment IS NOT (SELECT replace(OLD.comment, redacts, mark) FROM gate))
    OR (NEW.user IS NOT OLD.user AND NEW.user IS NOT (SELECT replace(OLD.user, redacts, mark) FROM gate))
BEGIN
    SELECT RAISE(ABORT, 'refused: generations never change');
END;

DROP TRIGGER refusals_no_update;
CREATE TRIGGER refusals_no_update BEFORE UPDATE ON refusals
WHEN (SELECT generation IS NULL OR redacts IS NULL OR mark IS NULL FROM gate)
    OR NEW.key IS NOT OLD.key
    OR NEW.generation IS NOT OLD.generation
    OR NEW.count IS NOT OLD.count
    OR NEW.method IS NOT OLD.method
    OR NEW.transaction_id IS NOT OLD.transaction_id
    OR NEW.uid IS NOT OLD.uid
    OR NEW.loginuid IS NOT OLD.loginuid
    OR NEW.pid IS NOT OLD.pid
    OR NEW.sender IS NOT OLD.sender
    OR NEW.origin IS NOT OLD.origin
    OR NEW.error_code IS NOT OLD.error_code
    OR NEW.at_us IS NOT OLD.at_us
    OR NEW.at_monotonic_us IS NOT OLD.at_monotonic_us
    OR NEW.at_boot IS NOT OLD.at_boot
    OR NEW.until_us IS NOT OLD.until_us
    OR NEW.until_monotonic_us IS NOT OLD.until_monotonic_us
    OR NEW.until_boot IS NOT OLD.until_boot
    OR (NEW.user IS NOT OLD.user AND NEW.user IS NOT (SELECT replace(OLD.user, redacts, mark) FROM gate))
    OR (NEW.unit IS NOT OLD.unit AND NEW.unit IS NOT (SELECT replace(OLD.unit, redacts, mark) FROM gate))
    OR (NEW.client IS NOT OLD.client AND NEW.client IS NOT (SELECT replace(OLD.client, redacts, mark) FROM gate))
    OR (NEW.program IS NOT OLD.program AND NEW.program IS NOT (SELECT replace(OLD.program, redacts, mark) FROM gate))
    OR (NEW.error_text IS NOT OLD.error_text AND NEW.error_text IS NOT (SELECT replace(OLD.error_text, redacts, mark) FROM gate))
BEGIN
    SELECT RAISE(ABORT, 'refused: refusals never change');
END;

DROP TRIGGER work_history_no_update;
CREATE TRIGGER work_history_no_update BEFORE UPDATE ON work_history
WHEN (SELECT generation IS NULL OR redacts IS NULL OR mark IS NULL FROM gate)
    OR NEW.key IS NOT OLD.key
    OR NEW.generation IS NOT OLD.generation
    OR NEW.run IS NOT OLD.run
    OR NEW.subject IS NOT OLD.subject
    OR NEW.process IS NOT OLD.process
    OR NEW.event IS NOT OLD.event
    OR NEW.transaction_id IS NOT OLD.transaction_id
    OR NEW.error_code IS NOT OLD.error_code
    OR NEW.at_us IS NOT OLD.at_us
    OR NEW.at_monotonic_us IS NOT OLD.at_monotonic_us
    OR NEW.at_boot IS NOT OLD.at_boot
    OR (NEW.error_text IS NOT OLD.error_text AND NEW.error_text IS NOT (SELECT replace(OLD.error_text, redacts, mark) FROM gate))
BEGIN
    SELECT RAISE(ABORT, 'refused: work_history never changes');
END;

DROP TRIGGER requests_no_update;
CREATE TRIGGER requests_no_update BEFORE UPDATE ON requests
WHEN (SELECT generation IS NULL OR redacts IS NULL OR mark IS NULL FROM gate)
    OR NEW.transaction_key IS NOT OLD.transaction_key
    OR NEW.bytes IS NOT (SELECT CAST(replace(CAST(OLD.bytes AS TEXT), redacts_json, mark) AS BLOB) FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: requests never change');
END;

DROP TRIGGER plans_no_update;
CREATE TRIGGER plans_no_update BEFORE UPDATE ON plans
WHEN (SELECT generation IS NULL OR redacts IS NULL OR mark IS NULL FROM gate)
    OR NEW.transaction_key IS NOT OLD.transaction_key
    OR NEW.digest IS NOT OLD.digest
    OR NEW.summary IS NOT OLD.summary
    OR NEW.items IS NOT OLD.items
    OR NEW.bytes IS NOT (SELECT CAST(replace(CAST(OLD.bytes AS TEXT), redacts_json, mark) AS BLOB) FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: plans never change');
END;

DROP TRIGGER changes_no_update;
CREATE TRIGGER changes_no_update BEFORE UPDATE ON changes
WHEN (SELECT generation IS NULL OR redacts IS NULL OR mark IS NULL FROM gate)
    OR NEW.key IS NOT OLD.key
    OR NEW.generation IS NOT OLD.generation
    OR NEW.run IS NOT OLD.run
    OR NEW.at_us IS NOT OLD.at_us
    OR NEW.table_name IS NOT OLD.table_name
    OR NEW.row_key IS NOT OLD.row_key
    OR NEW.action IS NOT OLD.action
    OR NEW.fields IS NOT (SELECT replace(OLD.fields, redacts_json, mark) FROM gate)
    OR EXISTS (
        SELECT 1 FROM json_each(OLD.fields) o LEFT JOIN json_each(NEW.fields) n ON n.key = o.key
        WHERE n.key IS NULL OR (n.value IS NOT o.value AND n.key NOT IN (
            'client', 'comment', 'description', 'error_text', 'program', 'text', 'unit', 'user'
        ))
    )
BEGIN
    SELECT RAISE(ABORT, 'refused: changes never change');
END;

-- Columns that are written once, but for a redaction.

DROP TRIGGER transactions_fixed_columns;
CREATE TRIGGER transactions_fixed_columns BEFORE UPDATE ON transactions
WHEN NEW.key IS NOT OLD.key
    OR NEW.id IS NOT OLD.id
    OR NEW.reversed IS NOT OLD.reversed
    OR NEW.generation IS NOT OLD.generation
    OR NEW.kind IS NOT OLD.kind
    OR (NEW.description IS NOT OLD.description AND NEW.description IS NOT (SELECT replace(OLD.description, redacts, mark) FROM gate))
    OR NEW.priority IS NOT OLD.priority
    OR NEW.reverts IS NOT OLD.reverts
    OR NEW.scope IS NOT OLD.scope
    OR NEW.retries IS NOT OLD.retries
    OR NEW.uid IS NOT OLD.uid
    OR (NEW.user IS NOT OLD.user AND NEW.user IS NOT (SELECT replace(OLD.user, redacts, mark) FROM gate))
    OR NEW.loginuid IS NOT OLD.loginuid
    OR NEW.pid IS NOT OLD.pid
    OR NEW.sender IS NOT OLD.sender
    OR (NEW.unit IS NOT OLD.unit AND NEW.unit IS NOT (SELECT replace(OLD.unit, redacts, mark) FROM gate))
    OR NEW.origin IS NOT OLD.origin
    OR (NEW.client IS NOT OLD.client AND NEW.client IS NOT (SELECT replace(OLD.client, redacts, mark) FROM gate))
    OR NEW.request_digest IS NOT OLD.request_digest
    OR NEW.created_us IS NOT OLD.created_us
    OR NEW.created_monotonic_us IS NOT OLD.created_monotonic_us
    OR NEW.created_boot IS NOT OLD.created_boot
BEGIN
    SELECT RAISE(ABORT, 'refused: only status and time columns change');
END;

DROP TRIGGER ignores_fixed_columns;
CREATE TRIGGER ignores_fixed_columns BEFORE UPDATE ON ignores
WHEN NEW.key IS NOT OLD.key
    OR NEW.generation IS NOT OLD.generation
    OR NEW.pattern IS NOT OLD.pattern
    OR NEW.source_kind IS NOT OLD.source_kind
    OR NEW.source_name IS NOT OLD.source_name
    OR (NEW.comment IS NOT OLD.comment AND NEW.comment IS NOT (SELECT replace(OLD.comment, redacts, mark) FROM gate))
    OR NEW.until_us IS NOT OLD.until_us
    OR NEW.uid IS NOT OLD.uid
    OR (NEW.user IS NOT OLD.user AND NEW.user IS NOT (SELECT replace(OLD.user, redacts, mark) FROM gate))
    OR NEW.added_us IS NOT OLD.added_us
    OR NEW.added_monotonic_us IS NOT OLD.added_monotonic_us
    OR NEW.added_boot IS NOT OLD.added_boot
BEGIN
    SELECT RAISE(ABORT, 'refused: only status and time columns change');
END;

DROP TRIGGER work_backoff_fixed_columns;
CREATE TRIGGER work_backoff_fixed_columns BEFORE UPDATE ON work_backoff
WHEN NEW.key IS NOT OLD.key
    OR NEW.generation IS NOT OLD.generation
    OR NEW.subject IS NOT OLD.subject
    OR NEW.process IS NOT OLD.process
    OR NEW.failures IS NOT OLD.failures
    OR NEW.error_code IS NOT OLD.error_code
    OR (NEW.error_text IS NOT OLD.error_text AND NEW.error_text IS NOT (SELECT replace(OLD.error_text, redacts, mark) FROM gate))
    OR NEW.transaction_id IS NOT OLD.transaction_id
    OR (NEW.comment IS NOT OLD.comment AND NEW.comment IS NOT (SELECT replace(OLD.comment, redacts, mark) FROM gate))
    OR NEW.uid IS NOT OLD.uid
    OR (NEW.user IS NOT OLD.user AND NEW.user IS NOT (SELECT replace(OLD.user, redacts, mark) FROM gate))
    OR NEW.set_us IS NOT OLD.set_us
    OR NEW.set_monotonic_us IS NOT OLD.set_monotonic_us
    OR NEW.set_boot IS NOT OLD.set_boot
    OR NEW.until_us IS NOT OLD.until_us
BEGIN
    SELECT RAISE(ABORT, 'refused: only status and time columns change');
END;

DROP TRIGGER transactions_final_stay;
CREATE TRIGGER transactions_final_stay BEFORE UPDATE ON transactions
WHEN OLD.finished_us IS NOT NULL AND (
    (SELECT generation IS NULL OR redacts IS NULL OR mark IS NULL FROM gate)
    OR NEW.key IS NOT OLD.key
    OR NEW.id IS NOT OLD.id
    OR NEW.reversed IS NOT OLD.reversed
    OR NEW.generation IS NOT OLD.generation
    OR NEW.kind IS NOT OLD.kind
    OR NEW.priority IS NOT OLD.priority
    OR NEW.reverts IS NOT OLD.reverts
    OR NEW.scope IS NOT OLD.scope
    OR NEW.retries IS NOT OLD.retries
    OR NEW.uid IS NOT OLD.uid
    OR NEW.loginuid IS NOT OLD.loginuid
    OR NEW.pid IS NOT OLD.pid
    OR NEW.sender IS NOT OLD.sender
    OR NEW.origin IS NOT OLD.origin
    OR NEW.request_digest IS NOT OLD.request_digest
    OR NEW.created_us IS NOT OLD.created_us
    OR NEW.created_monotonic_us IS NOT OLD.created_monotonic_us
    OR NEW.created_boot IS NOT OLD.created_boot
    OR NEW.state IS NOT OLD.state
    OR NEW.cancel_requested IS NOT OLD.cancel_requested
    OR NEW.undoing IS NOT OLD.undoing
    OR NEW.attempts IS NOT OLD.attempts
    OR NEW.sequence IS NOT OLD.sequence
    OR NEW.error_code IS NOT OLD.error_code
    OR NEW.world_after IS NOT OLD.world_after
    OR NEW.queued_us IS NOT OLD.queued_us
    OR NEW.queued_monotonic_us IS NOT OLD.queued_monotonic_us
    OR NEW.queued_boot IS NOT OLD.queued_boot
    OR NEW.started_us IS NOT OLD.started_us
    OR NEW.started_monotonic_us IS NOT OLD.started_monotonic_us
    OR NEW.started_boot IS NOT OLD.started_boot
    OR NEW.finished_us IS NOT OLD.finished_us
    OR NEW.finished_monotonic_us IS NOT OLD.finished_monotonic_us
    OR NEW.finished_boot IS NOT OLD.finished_boot
    OR NEW.updated_us IS NOT OLD.updated_us
    OR NEW.updated_monotonic_us IS NOT OLD.updated_monotonic_us
    OR NEW.updated_boot IS NOT OLD.updated_boot
    OR (NEW.description IS NOT OLD.description AND NEW.description IS NOT (SELECT replace(OLD.description, redacts, mark) FROM gate))
    OR (NEW.user IS NOT OLD.user AND NEW.user IS NOT (SELECT replace(OLD.user, redacts, mark) FROM gate))
    OR (NEW.unit IS NOT OLD.unit AND NEW.unit IS NOT (SELECT replace(OLD.unit, redacts, mark) FROM gate))
    OR (NEW.client IS NOT OLD.client AND NEW.client IS NOT (SELECT replace(OLD.client, redacts, mark) FROM gate))
    OR (NEW.error_text IS NOT OLD.error_text AND NEW.error_text IS NOT (SELECT replace(OLD.error_text, redacts, mark) FROM gate))
)
BEGIN
    SELECT RAISE(ABORT, 'refused: the transaction has ended');
END;
