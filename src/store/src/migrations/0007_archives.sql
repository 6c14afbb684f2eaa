-- Old transactions move to files of their own, archives of the record, and leave this one. What vouches for them stays here: which
-- they were, the hash of their last event, which the next event here is chained to, and the digest of the file.
--
-- The rules of 0001 hold here too, but for this: in the generation that lists an archive, what lies in that archive may leave. The
-- triggers below refuse every other DELETE as before.

-- What is leaving: the archive that the open generation lists.
ALTER TABLE gate ADD COLUMN moves INTEGER;

CREATE TABLE archives (
    key INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (key),
    -- In the folder record-archive beside the record.
    file TEXT NOT NULL UNIQUE CHECK (length(file) BETWEEN 1 AND 100 AND instr(file, '/') = 0),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    first_transaction INTEGER NOT NULL CHECK (first_transaction > 0),
    last_transaction INTEGER NOT NULL CHECK (last_transaction >= first_transaction),
    first_event INTEGER NOT NULL CHECK (first_event > 0),
    last_event INTEGER NOT NULL CHECK (last_event >= first_event),
    last_hash BLOB NOT NULL CHECK (length(last_hash) = 32),
    -- When the first and the last of them were requested.
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    -- The least and the greatest id in it.
    first_id TEXT NOT NULL,
    last_id TEXT NOT NULL
) STRICT;

CREATE TRIGGER archives_no_delete BEFORE DELETE ON archives
BEGIN
    SELECT RAISE(ABORT, 'refused: archives are never deleted');
END;

CREATE TRIGGER archives_insert_needs_generation BEFORE INSERT ON archives
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER archives_in_open_generation BEFORE INSERT ON archives
WHEN NEW.generation IS NOT (SELECT generation FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: that generation is not open');
END;

CREATE TRIGGER archives_no_replace BEFORE INSERT ON archives
WHEN EXISTS (SELECT 1 FROM archives WHERE key = NEW.key OR file = NEW.file)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in archives');
END;

CREATE TRIGGER archives_without_gap BEFORE INSERT ON archives
WHEN NEW.first_event IS NOT (SELECT coalesce(max(last_event), 0) + 1 FROM archives)
    OR NEW.first_transaction <= (SELECT coalesce(max(last_transaction), 0) FROM archives)
BEGIN
    SELECT RAISE(ABORT, 'refused: an archive goes on where the one before ends');
END;

CREATE TRIGGER archives_no_update BEFORE UPDATE ON archives
BEGIN
    SELECT RAISE(ABORT, 'refused: archives never change');
END;

CREATE TRIGGER archives_journal_insert AFTER INSERT ON archives
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'archives', CAST(NEW.key AS TEXT), 'insert', json_object(
            'key', NEW.key, 'generation', NEW.generation, 'file', NEW.file, 'digest', hex(NEW.digest),
            'first_transaction', NEW.first_transaction, 'last_transaction', NEW.last_transaction, 'first_event', NEW.first_event,
            'last_event', NEW.last_event, 'last_hash', hex(NEW.last_hash), 'first_us', NEW.first_us, 'last_us', NEW.last_us,
            'first_id', NEW.first_id, 'last_id', NEW.last_id
        )
    FROM gate;
END;

-- Who leaves is looked for among those who refer to them.
CREATE INDEX transactions_by_retries ON transactions (retries) WHERE retries IS NOT NULL;

DROP TRIGGER transactions_no_delete;
CREATE TRIGGER transactions_no_delete BEFORE DELETE ON transactions
WHEN OLD.key > coalesce((SELECT a.last_transaction FROM gate g JOIN archives a ON a.key = g.moves AND a.generation = g.generation), 0)
BEGIN
    SELECT RAISE(ABORT, 'refused: transactions are never deleted');
END;

DROP TRIGGER requests_no_delete;
CREATE TRIGGER requests_no_delete BEFORE DELETE ON requests
WHEN OLD.transaction_key > coalesce((SELECT a.last_transaction FROM gate g JOIN archives a ON a.key = g.moves AND a.generation = g.generation), 0)
BEGIN
    SELECT RAISE(ABORT, 'refused: requests are never deleted');
END;

DROP TRIGGER plans_no_delete;
CREATE TRIGGER plans_no_delete BEFORE DELETE ON plans
WHEN OLD.transaction_key > coalesce((SELECT a.last_transaction FROM gate g JOIN archives a ON a.key = g.moves AND a.generation = g.generation), 0)
BEGIN
    SELECT RAISE(ABORT, 'refused: plans are never deleted');
END;

DROP TRIGGER items_no_delete;
CREATE TRIGGER items_no_delete BEFORE DELETE ON items
WHEN OLD.transaction_key > coalesce((SELECT a.last_transaction FROM gate g JOIN archives a ON a.key = g.moves AND a.generation = g.generation), 0)
BEGIN
    SELECT RAISE(ABORT, 'refused: items are never deleted');
END;

DROP TRIGGER steps_no_delete;
CREATE TRIGGER steps_no_delete BEFORE DELETE ON steps
WHEN OLD.transaction_key > coalesce((SELECT a.last_transaction FROM gate g JOIN archives a ON a.key = g.moves AND a.generation = g.generation), 0)
BEGIN
    SELECT RAISE(ABORT, 'refused: steps are never deleted');
END;

DROP TRIGGER attempts_no_delete;
CREATE TRIGGER attempts_no_delete BEFORE DELETE ON attempts
WHEN OLD.transaction_key > coalesce((SELECT a.last_transaction FROM gate g JOIN archives a ON a.key = g.moves AND a.generation = g.generation), 0)
BEGIN
    SELECT RAISE(ABORT, 'refused: attempts are never deleted');
END;

DROP TRIGGER events_no_delete;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
WHEN OLD.seq > coalesce((SELECT a.last_event FROM gate g JOIN archives a ON a.key = g.moves AND a.generation = g.generation), 0)
BEGIN
    SELECT RAISE(ABORT, 'refused: events are never deleted');
END;

DROP TRIGGER changes_no_delete;
CREATE TRIGGER changes_no_delete BEFORE DELETE ON changes
WHEN NOT EXISTS (
    SELECT 1 FROM gate g JOIN archives a ON a.key = g.moves AND a.generation = g.generation
    JOIN transactions t ON t.generation = OLD.generation AND t.key <= a.last_transaction
)
BEGIN
    SELECT RAISE(ABORT, 'refused: changes are never deleted');
END;

CREATE TRIGGER transactions_text_delete AFTER DELETE ON transactions
WHEN length(OLD.description) >= 3
BEGIN
    INSERT INTO transactions_text (transactions_text, rowid, description) VALUES ('delete', OLD.key, OLD.description);
END;

-- The first event after an archive follows the archive's last one.
DROP TRIGGER events_without_gap;
CREATE TRIGGER events_without_gap BEFORE INSERT ON events
WHEN NEW.seq IS NOT coalesce((SELECT max(seq) FROM events), (SELECT max(last_event) FROM archives), 0) + 1
BEGIN
    SELECT RAISE(ABORT, 'refused: events are numbered without gaps');
END;

-- Who was turned away from a transaction stays on record here when the transaction leaves.
CREATE TABLE refusals_anew (
    key INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (key),
    -- How many calls the row stands for. Its facts are those of the last of them.
    count INTEGER NOT NULL CHECK (count > 0),
    method TEXT NOT NULL CHECK (length(method) BETWEEN 1 AND 64),
    -- No foreign key: the transaction may have left for an archive.
    transaction_id TEXT,
    uid INTEGER NOT NULL,
    user TEXT NOT NULL,
    loginuid INTEGER,
    pid INTEGER,
    sender TEXT NOT NULL,
    unit TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('cli', 'dbus', 'spool', 'timer', 'apt', 'daemon')),
    client TEXT NOT NULL CHECK (length(client) <= 64),
    -- The name of the caller's process: that process can choose it.
    program TEXT NOT NULL CHECK (length(program) <= 32),
    error_code TEXT NOT NULL REFERENCES error_codes (code),
    error_text TEXT NOT NULL CHECK (length(error_text) <= 160),
    -- Of the first and of the last of them.
    at_us INTEGER NOT NULL,
    at_monotonic_us INTEGER NOT NULL,
    at_boot BLOB NOT NULL CHECK (length(at_boot) = 16),
    until_us INTEGER NOT NULL,
    until_monotonic_us INTEGER NOT NULL,
    until_boot BLOB NOT NULL CHECK (length(until_boot) = 16)
) STRICT;
INSERT INTO refusals_anew SELECT * FROM refusals ORDER BY key;
DROP TABLE refusals;
ALTER TABLE refusals_anew RENAME TO refusals;
CREATE INDEX refusals_by_uid ON refusals (uid);
CREATE INDEX refusals_by_code ON refusals (error_code);

CREATE TRIGGER refusals_of_a_transaction BEFORE INSERT ON refusals
WHEN NEW.transaction_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM transactions WHERE id = NEW.transaction_id)
    AND NOT EXISTS (SELECT 1 FROM archives WHERE NEW.transaction_id BETWEEN first_id AND last_id)
BEGIN
    SELECT RAISE(ABORT, 'refused: no such transaction');
END;

CREATE TRIGGER refusals_no_delete BEFORE DELETE ON refusals
BEGIN
    SELECT RAISE(ABORT, 'refused: refusals are never deleted');
END;

CREATE TRIGGER refusals_insert_needs_generation BEFORE INSERT ON refusals
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER refusals_in_open_generation BEFORE INSERT ON refusals
WHEN NEW.generation IS NOT (SELECT generation FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: a refusal belongs to the open generation');
END;

CREATE TRIGGER refusals_no_replace BEFORE INSERT ON refusals
WHEN EXISTS (SELECT 1 FROM refusals WHERE key = NEW.key)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in refusals');
END;

CREATE TRIGGER refusals_codes BEFORE INSERT ON refusals
WHEN NOT EXISTS (SELECT 1 FROM error_codes WHERE code = NEW.error_code)
BEGIN
    SELECT RAISE(ABORT, 'refused: unknown error code');
END;

CREATE TRIGGER refusals_journal_insert AFTER INSERT ON refusals
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'refusals', CAST(NEW.key AS TEXT), 'insert', json_object(
            'key', NEW.key, 'generation', NEW.generation, 'count', NEW.count, 'method', NEW.method,
            'transaction_id', NEW.transaction_id, 'uid', NEW.uid, 'user', NEW.user, 'loginuid', NEW.loginuid, 'pid', NEW.pid,
            'sender', NEW.sender, 'unit', NEW.unit, 'origin', NEW.origin, 'client', NEW.client, 'program', NEW.program,
            'error_code', NEW.error_code, 'error_text', NEW.error_text, 'at_us', NEW.at_us,
            'at_monotonic_us', NEW.at_monotonic_us, 'at_boot', hex(NEW.at_boot), 'until_us', NEW.until_us,
            'until_monotonic_us', NEW.until_monotonic_us, 'until_boot', hex(NEW.until_boot)
        )
    FROM gate;
END;

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
