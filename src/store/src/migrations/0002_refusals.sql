-- Calls that were turned away before they became, or changed, a transaction.
--
-- The rules of 0001 hold here too. How many rows there are is bounded by who writes them: see core's throttle.

CREATE TABLE refusals (
    key INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (key),
    -- How many calls the row stands for. Its facts are those of the last of them.
    count INTEGER NOT NULL CHECK (count > 0),
    method TEXT NOT NULL CHECK (length(method) BETWEEN 1 AND 64),
    transaction_id TEXT REFERENCES transactions (id),
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
CREATE INDEX refusals_by_uid ON refusals (uid);
CREATE INDEX refusals_by_code ON refusals (error_code);

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

CREATE TRIGGER refusals_no_update BEFORE UPDATE ON refusals
BEGIN
    SELECT RAISE(ABORT, 'refused: refusals never change');
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
