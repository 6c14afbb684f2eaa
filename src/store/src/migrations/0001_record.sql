-- The record of transactions.
--
-- Rules that every table below keeps, whoever writes, the sqlite3 tool included:
--  * nothing is written unless a generation is open (table gate), so every change has a who, a why and a when;
--  * nothing is deleted, and REPLACE, which deletes without saying so, is refused;
--  * only status and time columns change, and those that are set once stay as they were set;
--  * every change is in the table changes. Without triggers there: gate (transient; closed again before each commit), changes
--    (would record itself), generations (the heads of the journal), events (a journal of its own, chained by hashes), transitions and
--    error_codes (constants of the schema: only a migration writes them), transactions_text (an index that takes no triggers).
-- Times are microseconds since 1970 in UTC (*_us), with the boot's monotonic clock (*_monotonic_us, *_boot) beside them.

-- One start of the daemon. Written with its first change: a run that only reads leaves no trace.
CREATE TABLE runs (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 36),
    version TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_us INTEGER NOT NULL,
    started_monotonic_us INTEGER NOT NULL,
    started_boot BLOB NOT NULL CHECK (length(started_boot) = 16)
) STRICT;

-- A change-set. A transaction has one, from its request to its end.
CREATE TABLE generations (
    key INTEGER PRIMARY KEY,
    comment TEXT NOT NULL,
    uid INTEGER NOT NULL,
    user TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('cli', 'dbus', 'spool', 'timer', 'apt', 'daemon')),
    opened_us INTEGER NOT NULL,
    opened_monotonic_us INTEGER NOT NULL,
    opened_boot BLOB NOT NULL CHECK (length(opened_boot) = 16),
    -- Deferred: the first generation of a run is opened before the run's row can be written.
    run INTEGER NOT NULL REFERENCES runs (key) DEFERRABLE INITIALLY DEFERRED
) STRICT;

-- Which generation is open, in which run, and the time its changes get. One row, all empty between commits.
CREATE TABLE gate (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    generation INTEGER REFERENCES generations (key),
    run INTEGER REFERENCES runs (key) DEFERRABLE INITIALLY DEFERRED,
    at_us INTEGER,
    CHECK ((generation IS NULL) = (run IS NULL) AND (run IS NULL) = (at_us IS NULL))
) STRICT;
INSERT INTO gate (one) VALUES (1);

-- What changed: the columns' values (insert) or pairs of before and after (update), blobs in hexadecimal.
CREATE TABLE changes (
    key INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (key),
    run INTEGER NOT NULL REFERENCES runs (key) DEFERRABLE INITIALLY DEFERRED,
    at_us INTEGER NOT NULL,
    table_name TEXT NOT NULL,
    row_key TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('insert', 'update')),
    fields TEXT NOT NULL CHECK (json_valid(fields))
) STRICT;
CREATE INDEX changes_by_generation ON changes (generation);

-- The pairs of states that may follow each other.
CREATE TABLE transitions (
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    PRIMARY KEY (before, after)
) STRICT, WITHOUT ROWID;
INSERT INTO transitions (before, after) VALUES
    ('created', 'prepared'), ('created', 'cancelled'), ('created', 'expired'), ('created', 'failed'), ('prepared', 'queued'),
    ('prepared', 'cancelled'), ('prepared', 'expired'), ('prepared', 'failed'), ('queued', 'executing'), ('queued', 'cancelled'),
    ('queued', 'expired'), ('queued', 'failed'), ('executing', 'completed'), ('executing', 'cancelling'),
    ('executing', 'rolling-back'), ('executing', 'interrupted'), ('executing', 'needs-attention'), ('cancelling', 'completed'),
    ('cancelling', 'rolling-back'), ('cancelling', 'interrupted'), ('cancelling', 'needs-attention'),
    ('rolling-back', 'rolled-back'), ('rolling-back', 'partially-rolled-back'), ('rolling-back', 'cancelled'),
    ('rolling-back', 'interrupted'), ('rolling-back', 'needs-attention'), ('interrupted', 'executing'),
    ('interrupted', 'rolling-back'), ('interrupted', 'completed'), ('interrupted', 'needs-attention'),
    ('needs-attention', 'executing'), ('needs-attention', 'rolling-back'), ('needs-attention', 'partially-rolled-back');

-- The stable error codes.
CREATE TABLE error_codes (
    code TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
INSERT INTO error_codes (code) VALUES
    ('request.malformed'), ('request.unknown-option'), ('request.too-large'), ('request.duplicate'), ('request.throttled'), ('package.unknown'),
    ('package.not-installed'), ('package.held'), ('version.unknown'), ('deps.unsatisfiable'), ('plan.essential'),
    ('plan.downgrade'), ('plan.irreversible'), ('plan.stale'), ('plan.mismatch'), ('plan.failed'), ('auth.denied'), ('auth.unavailable'),
    ('lock.busy'), ('dpkg.interrupted'), ('fetch.failed'), ('fetch.hash-mismatch'), ('trust.unsigned'), ('archive.invalid'),
    ('disk.full'), ('disk.read-only'), ('capture.failed'), ('script.failed'), ('dpkg.failed'), ('check.mismatch'),
    ('service.failed'), ('undo.material'), ('undo.failed'), ('undo.incomplete'), ('undo.nothing'), ('undo.conflict'),
    ('transaction.unknown'), ('generation.unknown'), ('transaction.state'), ('queue.full'), ('queue.closed'), ('cancelled'), ('expired'),
    ('worker.lost'), ('worker.failed'), ('store.failed'), ('audit.broken'), ('internal');

CREATE TABLE transactions (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 36 AND substr(id, 15, 1) = '7'),
    -- The id's digits backwards, so that an index finds its end.
    reversed TEXT NOT NULL CHECK (length(reversed) = 32),
    generation INTEGER NOT NULL REFERENCES generations (key),
    kind TEXT NOT NULL CHECK (kind IN (
        'install', 'remove', 'purge', 'update', 'upgrade', 'full-upgrade', 'autoremove', 'downgrade', 'reinstall', 'hold',
        'unhold', 'rollback'
    )),
    description TEXT NOT NULL,
    priority INTEGER NOT NULL,
    reverts TEXT REFERENCES transactions (id),
    -- How much of it is undone: one as a whole, later ones too, or a part.
    scope TEXT CHECK (scope IN ('one', 'later', 'part')),
    retries TEXT REFERENCES transactions (id),
    uid INTEGER NOT NULL,
    user TEXT NOT NULL,
    loginuid INTEGER,
    pid INTEGER,
    sender TEXT NOT NULL,
    unit TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('cli', 'dbus', 'spool', 'timer', 'apt', 'daemon')),
    client TEXT NOT NULL,
    request_digest BLOB NOT NULL CHECK (length(request_digest) = 32),
    created_us INTEGER NOT NULL,
    created_monotonic_us INTEGER NOT NULL,
    created_boot BLOB NOT NULL CHECK (length(created_boot) = 16),
    -- From here on a cache of the fold over the transaction's events: status and times, the only columns that change.
    state TEXT NOT NULL CHECK (state IN (
        'created', 'prepared', 'queued', 'executing', 'cancelling', 'rolling-back', 'interrupted', 'needs-attention',
        'completed', 'rolled-back', 'partially-rolled-back', 'cancelled', 'failed', 'expired'
    )),
    cancel_requested INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),
    undoing INTEGER NOT NULL CHECK (undoing IN (0, 1)),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    sequence INTEGER UNIQUE CHECK (sequence > 0),
    error_code TEXT REFERENCES error_codes (code),
    error_text TEXT,
    world_after BLOB CHECK (length(world_after) = 32),
    queued_us INTEGER,
    queued_monotonic_us INTEGER,
    queued_boot BLOB CHECK (length(queued_boot) = 16),
    started_us INTEGER,
    started_monotonic_us INTEGER,
    started_boot BLOB CHECK (length(started_boot) = 16),
    finished_us INTEGER,
    finished_monotonic_us INTEGER,
    finished_boot BLOB CHECK (length(finished_boot) = 16),
    updated_us INTEGER NOT NULL,
    updated_monotonic_us INTEGER NOT NULL,
    updated_boot BLOB NOT NULL CHECK (length(updated_boot) = 16),
    status TEXT NOT NULL GENERATED ALWAYS AS (
        CASE
            WHEN state IN ('created', 'prepared') THEN 'pending'
            WHEN state IN ('queued', 'completed', 'cancelled') THEN state
            WHEN state IN ('rolled-back', 'partially-rolled-back', 'failed', 'expired') THEN 'failed'
            ELSE 'in_progress'
        END
    ) VIRTUAL,
    success INTEGER GENERATED ALWAYS AS (CASE WHEN finished_us IS NOT NULL THEN state = 'completed' END) VIRTUAL,
    duration_us INTEGER GENERATED ALWAYS AS (
        CASE WHEN started_boot = finished_boot THEN finished_monotonic_us - started_monotonic_us ELSE finished_us - started_us END
    ) VIRTUAL,
    CHECK ((finished_us IS NOT NULL) = (state IN ('completed', 'rolled-back', 'partially-rolled-back', 'cancelled', 'failed', 'expired'))),
    CHECK ((reverts IS NULL) = (scope IS NULL)),
    CHECK ((error_code IS NULL) = (error_text IS NULL)),
    CHECK ((queued_us IS NULL) = (sequence IS NULL))
) STRICT;
CREATE INDEX transactions_by_end_of_id ON transactions (reversed);
CREATE INDEX transactions_by_kind ON transactions (kind);
CREATE INDEX transactions_by_state ON transactions (state);
CREATE INDEX transactions_by_status ON transactions (status);
CREATE INDEX transactions_by_time ON transactions (created_us);
CREATE INDEX transactions_by_uid ON transactions (uid);
CREATE INDEX transactions_by_kind_and_state ON transactions (kind, state);
CREATE INDEX transactions_by_kind_and_end ON transactions (kind, finished_us);
CREATE INDEX transactions_by_scope ON transactions (scope) WHERE scope IS NOT NULL;
CREATE INDEX transactions_by_reverts ON transactions (reverts) WHERE reverts IS NOT NULL;
CREATE INDEX transactions_by_origin ON transactions (origin);
CREATE INDEX transactions_by_generation ON transactions (generation);

-- Finds descriptions by any three or more characters in them. An index and no record: INSERT INTO transactions_text (transactions_text)
-- VALUES ('rebuild') makes it again. Virtual tables take no triggers, so nothing here keeps it; it holds what transactions holds.
CREATE VIRTUAL TABLE transactions_text USING fts5 (
    description, content = 'transactions', content_rowid = 'key', tokenize = 'trigram', columnsize = 0
);

-- The request, verbatim.
CREATE TABLE requests (
    transaction_key INTEGER PRIMARY KEY REFERENCES transactions (key),
    bytes BLOB NOT NULL
) STRICT;

-- The frozen plan, verbatim, and what lists show of it.
CREATE TABLE plans (
    transaction_key INTEGER PRIMARY KEY REFERENCES transactions (key),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    summary TEXT NOT NULL,
    items INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE items (
    transaction_key INTEGER NOT NULL REFERENCES transactions (key),
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    arch TEXT NOT NULL,
    manager TEXT NOT NULL CHECK (manager IN ('apt')),
    action TEXT NOT NULL CHECK (action IN ('install', 'upgrade', 'downgrade', 'reinstall', 'remove', 'purge', 'hold', 'unhold')),
    reason TEXT NOT NULL CHECK (reason IN ('requested', 'dependency', 'conflict', 'unused', 'upgrade', 'reverted')),
    from_version TEXT,
    to_version TEXT,
    undo TEXT NOT NULL CHECK (undo IN ('exact', 'best-effort', 'impossible')),
    undo_why TEXT,
    -- dpkg's status and version as last recorded; empty before anything was.
    now TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'half', 'done', 'undone')),
    PRIMARY KEY (transaction_key, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX items_by_package ON items (name, arch, transaction_key);

CREATE TABLE steps (
    transaction_key INTEGER NOT NULL REFERENCES transactions (key),
    position INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('fetch', 'secure', 'apply', 'services', 'check', 'commit')),
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'pending', 'running', 'completed', 'failed', 'skipped', 'unknown', 'undone', 'undo_failed'
    )),
    error_code TEXT REFERENCES error_codes (code),
    error_text TEXT,
    text TEXT NOT NULL,
    started_us INTEGER,
    started_monotonic_us INTEGER,
    started_boot BLOB CHECK (length(started_boot) = 16),
    finished_us INTEGER,
    finished_monotonic_us INTEGER,
    finished_boot BLOB CHECK (length(finished_boot) = 16),
    PRIMARY KEY (transaction_key, position),
    UNIQUE (transaction_key, kind),
    CHECK ((error_code IS NULL) = (error_text IS NULL))
) STRICT, WITHOUT ROWID;

-- One worker's run. Its result is empty while it runs, and what is empty at a start of the daemon is for recovery.
CREATE TABLE attempts (
    transaction_key INTEGER NOT NULL REFERENCES transactions (key),
    number INTEGER NOT NULL CHECK (number > 0),
    direction TEXT NOT NULL CHECK (direction IN ('forward', 'undo')),
    result TEXT CHECK (result IN ('completed', 'undone', 'partly-undone', 'interrupted', 'attention')),
    success INTEGER GENERATED ALWAYS AS (result = 'completed') VIRTUAL,
    -- The last line of its journal that is in this record.
    journal_seq INTEGER NOT NULL CHECK (journal_seq >= 0),
    started_us INTEGER NOT NULL,
    started_monotonic_us INTEGER NOT NULL,
    started_boot BLOB NOT NULL CHECK (length(started_boot) = 16),
    ended_us INTEGER,
    ended_monotonic_us INTEGER,
    ended_boot BLOB CHECK (length(ended_boot) = 16),
    PRIMARY KEY (transaction_key, number),
    CHECK ((result IS NULL) = (ended_us IS NULL))
) STRICT, WITHOUT ROWID;

-- What happened. hash = SHA-256 over the hash before and every other column; evidence is the digest of the request (created), of the
-- plan (prepared) or of the committed world (completed).
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    transaction_key INTEGER NOT NULL REFERENCES transactions (key),
    attempt INTEGER,
    event TEXT NOT NULL CHECK (event IN (
        'created', 'prepared', 'denied', 'queued', 'started', 'step-started', 'step-ended', 'item-changed', 'noted',
        'cancel-requested', 'failed', 'expired', 'undo-started', 'completed', 'undo-finished', 'interrupted', 'resumed',
        'attention-needed', 'accepted'
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
CREATE INDEX events_by_transaction ON events (transaction_key);

-- runs

CREATE TRIGGER runs_no_delete BEFORE DELETE ON runs
BEGIN
    SELECT RAISE(ABORT, 'refused: runs are never deleted');
END;

CREATE TRIGGER runs_insert_needs_generation BEFORE INSERT ON runs
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER runs_no_replace BEFORE INSERT ON runs
WHEN EXISTS (SELECT 1 FROM runs WHERE key = NEW.key) OR EXISTS (SELECT 1 FROM runs WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in runs');
END;

CREATE TRIGGER runs_no_update BEFORE UPDATE ON runs
BEGIN
    SELECT RAISE(ABORT, 'refused: runs never change');
END;

CREATE TRIGGER runs_journal_insert AFTER INSERT ON runs
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'runs', CAST(NEW.key AS TEXT), 'insert', json_object(
            'key', NEW.key, 'id', NEW.id, 'version', NEW.version, 'pid', NEW.pid, 'started_us', NEW.started_us,
            'started_monotonic_us', NEW.started_monotonic_us, 'started_boot', hex(NEW.started_boot)
        )
    FROM gate;
END;

-- generations

CREATE TRIGGER generations_no_delete BEFORE DELETE ON generations
BEGIN
    SELECT RAISE(ABORT, 'refused: generations are never deleted');
END;

CREATE TRIGGER generations_no_replace BEFORE INSERT ON generations
WHEN EXISTS (SELECT 1 FROM generations WHERE key = NEW.key)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in generations');
END;

CREATE TRIGGER generations_no_update BEFORE UPDATE ON generations
BEGIN
    SELECT RAISE(ABORT, 'refused: generations never change');
END;

-- gate

CREATE TRIGGER gate_no_delete BEFORE DELETE ON gate
BEGIN
    SELECT RAISE(ABORT, 'refused: the gate stays');
END;

CREATE TRIGGER gate_no_insert BEFORE INSERT ON gate
BEGIN
    SELECT RAISE(ABORT, 'refused: there is one gate');
END;

-- changes

CREATE TRIGGER changes_no_delete BEFORE DELETE ON changes
BEGIN
    SELECT RAISE(ABORT, 'refused: changes are never deleted');
END;

CREATE TRIGGER changes_insert_needs_generation BEFORE INSERT ON changes
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER changes_no_replace BEFORE INSERT ON changes
WHEN EXISTS (SELECT 1 FROM changes WHERE key = NEW.key)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in changes');
END;

CREATE TRIGGER changes_no_update BEFORE UPDATE ON changes
BEGIN
    SELECT RAISE(ABORT, 'refused: changes never change');
END;

-- transitions

CREATE TRIGGER transitions_no_delete BEFORE DELETE ON transitions
BEGIN
    SELECT RAISE(ABORT, 'refused: transitions are never deleted');
END;

CREATE TRIGGER transitions_no_insert BEFORE INSERT ON transitions
BEGIN
    SELECT RAISE(ABORT, 'refused: transitions belong to the schema');
END;

CREATE TRIGGER transitions_no_update BEFORE UPDATE ON transitions
BEGIN
    SELECT RAISE(ABORT, 'refused: transitions belong to the schema');
END;

-- error_codes

CREATE TRIGGER error_codes_no_delete BEFORE DELETE ON error_codes
BEGIN
    SELECT RAISE(ABORT, 'refused: error_codes are never deleted');
END;

CREATE TRIGGER error_codes_no_insert BEFORE INSERT ON error_codes
BEGIN
    SELECT RAISE(ABORT, 'refused: error_codes belong to the schema');
END;

CREATE TRIGGER error_codes_no_update BEFORE UPDATE ON error_codes
BEGIN
    SELECT RAISE(ABORT, 'refused: error_codes belong to the schema');
END;

-- transactions

CREATE TRIGGER transactions_no_delete BEFORE DELETE ON transactions
BEGIN
    SELECT RAISE(ABORT, 'refused: transactions are never deleted');
END;

CREATE TRIGGER transactions_insert_needs_generation BEFORE INSERT ON transactions
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER transactions_no_replace BEFORE INSERT ON transactions
WHEN EXISTS (SELECT 1 FROM transactions WHERE key = NEW.key)
    OR EXISTS (SELECT 1 FROM transactions WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in transactions');
END;

CREATE TRIGGER transactions_in_open_generation BEFORE INSERT ON transactions
WHEN NEW.generation IS NOT (SELECT generation FROM gate)
BEGIN
    SELECT RAISE(ABORT, 'refused: that generation is not open');
END;

CREATE TRIGGER transactions_begin_created BEFORE INSERT ON transactions
WHEN NEW.state <> 'created' OR NEW.sequence IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: a transaction begins as created');
END;

CREATE TRIGGER transactions_update_needs_generation BEFORE UPDATE ON transactions
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER transactions_fixed_columns BEFORE UPDATE ON transactions
WHEN NEW.key IS NOT OLD.key
    OR NEW.id IS NOT OLD.id
    OR NEW.reversed IS NOT OLD.reversed
    OR NEW.generation IS NOT OLD.generation
    OR NEW.kind IS NOT OLD.kind
    OR NEW.description IS NOT OLD.description
    OR NEW.priority IS NOT OLD.priority
    OR NEW.reverts IS NOT OLD.reverts
    OR NEW.scope IS NOT OLD.scope
    OR NEW.retries IS NOT OLD.retries
    OR NEW.uid IS NOT OLD.uid
    OR NEW.user IS NOT OLD.user
    OR NEW.loginuid IS NOT OLD.loginuid
    OR NEW.pid IS NOT OLD.pid
    OR NEW.sender IS NOT OLD.sender
    OR NEW.unit IS NOT OLD.unit
    OR NEW.origin IS NOT OLD.origin
    OR NEW.client IS NOT OLD.client
    OR NEW.request_digest IS NOT OLD.request_digest
    OR NEW.created_us IS NOT OLD.created_us
    OR NEW.created_monotonic_us IS NOT OLD.created_monotonic_us
    OR NEW.created_boot IS NOT OLD.created_boot
BEGIN
    SELECT RAISE(ABORT, 'refused: only status and time columns change');
END;

CREATE TRIGGER transactions_set_once BEFORE UPDATE ON transactions
WHEN (OLD.sequence IS NOT NULL AND NEW.sequence IS NOT OLD.sequence)
    OR (OLD.world_after IS NOT NULL AND NEW.world_after IS NOT OLD.world_after)
    OR (OLD.queued_us IS NOT NULL AND NEW.queued_us IS NOT OLD.queued_us)
    OR (OLD.queued_monotonic_us IS NOT NULL AND NEW.queued_monotonic_us IS NOT OLD.queued_monotonic_us)
    OR (OLD.queued_boot IS NOT NULL AND NEW.queued_boot IS NOT OLD.queued_boot)
    OR (OLD.started_us IS NOT NULL AND NEW.started_us IS NOT OLD.started_us)
    OR (OLD.started_monotonic_us IS NOT NULL AND NEW.started_monotonic_us IS NOT OLD.started_monotonic_us)
    OR (OLD.started_boot IS NOT NULL AND NEW.started_boot IS NOT OLD.started_boot)
    OR (OLD.finished_us IS NOT NULL AND NEW.finished_us IS NOT OLD.finished_us)
    OR (OLD.finished_monotonic_us IS NOT NULL AND NEW.finished_monotonic_us IS NOT OLD.finished_monotonic_us)
    OR (OLD.finished_boot IS NOT NULL AND NEW.finished_boot IS NOT OLD.finished_boot)
BEGIN
    SELECT RAISE(ABORT, 'refused: that column is set once');
END;

CREATE TRIGGER transactions_codes BEFORE UPDATE ON transactions
WHEN NEW.error_code IS NOT NULL AND NOT EXISTS (SELECT 1 FROM error_codes WHERE code = NEW.error_code)
BEGIN
    SELECT RAISE(ABORT, 'refused: unknown error code');
END;

CREATE TRIGGER transactions_transitions BEFORE UPDATE ON transactions
WHEN NEW.state <> OLD.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE before = OLD.state AND after = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'refused: that state does not follow this one');
END;

CREATE TRIGGER transactions_one_way BEFORE UPDATE ON transactions
WHEN NEW.undoing < OLD.undoing OR NEW.cancel_requested < OLD.cancel_requested OR NEW.attempts < OLD.attempts
BEGIN
    SELECT RAISE(ABORT, 'refused: status does not go back');
END;

CREATE TRIGGER transactions_sequence_is_new BEFORE UPDATE ON transactions
WHEN NEW.sequence IS NOT OLD.sequence AND EXISTS (SELECT 1 FROM transactions WHERE sequence = NEW.sequence)
BEGIN
    SELECT RAISE(ABORT, 'refused: that sequence number is taken');
END;

CREATE TRIGGER transactions_final_stay BEFORE UPDATE ON transactions
WHEN OLD.finished_us IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: the transaction has ended');
END;

CREATE TRIGGER transactions_text_insert AFTER INSERT ON transactions
WHEN length(NEW.description) >= 3
BEGIN
    INSERT INTO transactions_text (rowid, description) VALUES (NEW.key, NEW.description);
END;

CREATE TRIGGER transactions_journal_insert AFTER INSERT ON transactions
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'transactions', CAST(NEW.key AS TEXT), 'insert', json_object(
            'key', NEW.key, 'id', NEW.id, 'reversed', NEW.reversed, 'generation', NEW.generation, 'kind', NEW.kind,
            'description', NEW.description, 'priority', NEW.priority, 'reverts', NEW.reverts, 'scope', NEW.scope,
            'retries', NEW.retries,
            'uid', NEW.uid, 'user', NEW.user, 'loginuid', NEW.loginuid, 'pid', NEW.pid, 'sender', NEW.sender, 'unit', NEW.unit,
            'origin', NEW.origin, 'client', NEW.client, 'request_digest', hex(NEW.request_digest), 'created_us', NEW.created_us,
            'created_monotonic_us', NEW.created_monotonic_us, 'created_boot', hex(NEW.created_boot), 'state', NEW.state,
            'cancel_requested', NEW.cancel_requested, 'undoing', NEW.undoing, 'attempts', NEW.attempts, 'sequence', NEW.sequence,
            'error_code', NEW.error_code, 'error_text', NEW.error_text, 'world_after', hex(NEW.world_after),
            'queued_us', NEW.queued_us, 'queued_monotonic_us', NEW.queued_monotonic_us, 'queued_boot', hex(NEW.queued_boot),
            'started_us', NEW.started_us, 'started_monotonic_us', NEW.started_monotonic_us,
            'started_boot', hex(NEW.started_boot), 'finished_us', NEW.finished_us,
            'finished_monotonic_us', NEW.finished_monotonic_us, 'finished_boot', hex(NEW.finished_boot),
            'updated_us', NEW.updated_us, 'updated_monotonic_us', NEW.updated_monotonic_us, 'updated_boot', hex(NEW.updated_boot)
        )
    FROM gate;
END;

CREATE TRIGGER transactions_journal_update AFTER UPDATE ON transactions
WHEN OLD.state IS NOT NEW.state
    OR OLD.cancel_requested IS NOT NEW.cancel_requested
    OR OLD.undoing IS NOT NEW.undoing
    OR OLD.attempts IS NOT NEW.attempts
    OR OLD.sequence IS NOT NEW.sequence
    OR OLD.error_code IS NOT NEW.error_code
    OR OLD.error_text IS NOT NEW.error_text
    OR OLD.world_after IS NOT NEW.world_after
    OR OLD.queued_us IS NOT NEW.queued_us
    OR OLD.queued_monotonic_us IS NOT NEW.queued_monotonic_us
    OR OLD.queued_boot IS NOT NEW.queued_boot
    OR OLD.started_us IS NOT NEW.started_us
    OR OLD.started_monotonic_us IS NOT NEW.started_monotonic_us
    OR OLD.started_boot IS NOT NEW.started_boot
    OR OLD.finished_us IS NOT NEW.finished_us
    OR OLD.finished_monotonic_us IS NOT NEW.finished_monotonic_us
    OR OLD.finished_boot IS NOT NEW.finished_boot
    OR OLD.updated_us IS NOT NEW.updated_us
    OR OLD.updated_monotonic_us IS NOT NEW.updated_monotonic_us
    OR OLD.updated_boot IS NOT NEW.updated_boot
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'transactions', CAST(NEW.key AS TEXT), 'update', (
        SELECT json_group_object(name, json(pair)) FROM (
            SELECT 'state' AS name, json_array(OLD.state, NEW.state) AS pair WHERE OLD.state IS NOT NEW.state
            UNION ALL SELECT 'cancel_requested', json_array(OLD.cancel_requested, NEW.cancel_requested) WHERE OLD.cancel_requested IS NOT NEW.cancel_requested
            UNION ALL SELECT 'undoing', json_array(OLD.undoing, NEW.undoing) WHERE OLD.undoing IS NOT NEW.undoing
            UNION ALL SELECT 'attempts', json_array(OLD.attempts, NEW.attempts) WHERE OLD.attempts IS NOT NEW.attempts
            UNION ALL SELECT 'sequence', json_array(OLD.sequence, NEW.sequence) WHERE OLD.sequence IS NOT NEW.sequence
            UNION ALL SELECT 'error_code', json_array(OLD.error_code, NEW.error_code) WHERE OLD.error_code IS NOT NEW.error_code
            UNION ALL SELECT 'error_text', json_array(OLD.error_text, NEW.error_text) WHERE OLD.error_text IS NOT NEW.error_text
            UNION ALL SELECT 'world_after', json_array(hex(OLD.world_after), hex(NEW.world_after)) WHERE OLD.world_after IS NOT NEW.world_after
            UNION ALL SELECT 'queued_us', json_array(OLD.queued_us, NEW.queued_us) WHERE OLD.queued_us IS NOT NEW.queued_us
            UNION ALL SELECT 'queued_monotonic_us', json_array(OLD.queued_monotonic_us, NEW.queued_monotonic_us) WHERE OLD.queued_monotonic_us IS NOT NEW.queued_monotonic_us
            UNION ALL SELECT 'queued_boot', json_array(hex(OLD.queued_boot), hex(NEW.queued_boot)) WHERE OLD.queued_boot IS NOT NEW.queued_boot
            UNION ALL SELECT 'started_us', json_array(OLD.started_us, NEW.started_us) WHERE OLD.started_us IS NOT NEW.started_us
            UNION ALL SELECT 'started_monotonic_us', json_array(OLD.started_monotonic_us, NEW.started_monotonic_us) WHERE OLD.started_monotonic_us IS NOT NEW.started_monotonic_us
            UNION ALL SELECT 'started_boot', json_array(hex(OLD.started_boot), hex(NEW.started_boot)) WHERE OLD.started_boot IS NOT NEW.started_boot
            UNION ALL SELECT 'finished_us', json_array(OLD.finished_us, NEW.finished_us) WHERE OLD.finished_us IS NOT NEW.finished_us
            UNION ALL SELECT 'finished_monotonic_us', json_array(OLD.finished_monotonic_us, NEW.finished_monotonic_us) WHERE OLD.finished_monotonic_us IS NOT NEW.finished_monotonic_us
            UNION ALL SELECT 'finished_boot', json_array(hex(OLD.finished_boot), hex(NEW.finished_boot)) WHERE OLD.finished_boot IS NOT NEW.finished_boot
            UNION ALL SELECT 'updated_us', json_array(OLD.updated_us, NEW.updated_us) WHERE OLD.updated_us IS NOT NEW.updated_us
            UNION ALL SELECT 'updated_monotonic_us', json_array(OLD.updated_monotonic_us, NEW.updated_monotonic_us) WHERE OLD.updated_monotonic_us IS NOT NEW.updated_monotonic_us
            UNION ALL SELECT 'updated_boot', json_array(hex(OLD.updated_boot), hex(NEW.updated_boot)) WHERE OLD.updated_boot IS NOT NEW.updated_boot
        )
    )
    FROM gate;
END;

-- requests

CREATE TRIGGER requests_no_delete BEFORE DELETE ON requests
BEGIN
    SELECT RAISE(ABORT, 'refused: requests are never deleted');
END;

CREATE TRIGGER requests_insert_needs_generation BEFORE INSERT ON requests
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER requests_no_replace BEFORE INSERT ON requests
WHEN EXISTS (SELECT 1 FROM requests WHERE transaction_key = NEW.transaction_key)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in requests');
END;

CREATE TRIGGER requests_no_update BEFORE UPDATE ON requests
BEGIN
    SELECT RAISE(ABORT, 'refused: requests never change');
END;

CREATE TRIGGER requests_journal_insert AFTER INSERT ON requests
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'requests', CAST(NEW.transaction_key AS TEXT), 'insert', json_object(
            'transaction_key', NEW.transaction_key
        )
    FROM gate;
END;

-- plans

CREATE TRIGGER plans_no_delete BEFORE DELETE ON plans
BEGIN
    SELECT RAISE(ABORT, 'refused: plans are never deleted');
END;

CREATE TRIGGER plans_insert_needs_generation BEFORE INSERT ON plans
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER plans_no_replace BEFORE INSERT ON plans
WHEN EXISTS (SELECT 1 FROM plans WHERE transaction_key = NEW.transaction_key)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in plans');
END;

CREATE TRIGGER plans_no_update BEFORE UPDATE ON plans
BEGIN
    SELECT RAISE(ABORT, 'refused: plans never change');
END;

CREATE TRIGGER plans_journal_insert AFTER INSERT ON plans
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'plans', CAST(NEW.transaction_key AS TEXT), 'insert', json_object(
            'transaction_key', NEW.transaction_key, 'digest', hex(NEW.digest), 'summary', NEW.summary, 'items', NEW.items
        )
    FROM gate;
END;

-- items

CREATE TRIGGER items_no_delete BEFORE DELETE ON items
BEGIN
    SELECT RAISE(ABORT, 'refused: items are never deleted');
END;

CREATE TRIGGER items_insert_needs_generation BEFORE INSERT ON items
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER items_no_replace BEFORE INSERT ON items
WHEN EXISTS (SELECT 1 FROM items WHERE transaction_key = NEW.transaction_key AND position = NEW.position)
    OR EXISTS (SELECT 1 FROM items WHERE name = NEW.name AND arch = NEW.arch AND transaction_key = NEW.transaction_key)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in items');
END;

CREATE TRIGGER items_update_needs_generation BEFORE UPDATE ON items
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER items_fixed_columns BEFORE UPDATE ON items
WHEN NEW.transaction_key IS NOT OLD.transaction_key
    OR NEW.position IS NOT OLD.position
    OR NEW.name IS NOT OLD.name
    OR NEW.arch IS NOT OLD.arch
    OR NEW.manager IS NOT OLD.manager
    OR NEW.action IS NOT OLD.action
    OR NEW.reason IS NOT OLD.reason
    OR NEW.from_version IS NOT OLD.from_version
    OR NEW.to_version IS NOT OLD.to_version
    OR NEW.undo IS NOT OLD.undo
    OR NEW.undo_why IS NOT OLD.undo_why
BEGIN
    SELECT RAISE(ABORT, 'refused: only status and time columns change');
END;

CREATE TRIGGER items_journal_insert AFTER INSERT ON items
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'items', NEW.transaction_key || '/' || NEW.position, 'insert', json_object(
            'transaction_key', NEW.transaction_key, 'position', NEW.position, 'name', NEW.name, 'arch', NEW.arch,
            'manager', NEW.manager, 'action', NEW.action, 'reason', NEW.reason, 'from_version', NEW.from_version,
            'to_version', NEW.to_version, 'undo', NEW.undo, 'undo_why', NEW.undo_why, 'now', NEW.now, 'state', NEW.state
        )
    FROM gate;
END;

CREATE TRIGGER items_journal_update AFTER UPDATE ON items
WHEN OLD.now IS NOT NEW.now OR OLD.state IS NOT NEW.state
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'items', NEW.transaction_key || '/' || NEW.position, 'update', (
        SELECT json_group_object(name, json(pair)) FROM (
            SELECT 'now' AS name, json_array(OLD.now, NEW.now) AS pair WHERE OLD.now IS NOT NEW.now
            UNION ALL SELECT 'state', json_array(OLD.state, NEW.state) WHERE OLD.state IS NOT NEW.state
        )
    )
    FROM gate;
END;

-- steps

CREATE TRIGGER steps_no_delete BEFORE DELETE ON steps
BEGIN
    SELECT RAISE(ABORT, 'refused: steps are never deleted');
END;

CREATE TRIGGER steps_insert_needs_generation BEFORE INSERT ON steps
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER steps_no_replace BEFORE INSERT ON steps
WHEN EXISTS (SELECT 1 FROM steps WHERE transaction_key = NEW.transaction_key AND position = NEW.position)
    OR EXISTS (SELECT 1 FROM steps WHERE transaction_key = NEW.transaction_key AND kind = NEW.kind)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in steps');
END;

CREATE TRIGGER steps_update_needs_generation BEFORE UPDATE ON steps
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER steps_fixed_columns BEFORE UPDATE ON steps
WHEN NEW.transaction_key IS NOT OLD.transaction_key
    OR NEW.position IS NOT OLD.position
    OR NEW.kind IS NOT OLD.kind
BEGIN
    SELECT RAISE(ABORT, 'refused: only status and time columns change');
END;

CREATE TRIGGER steps_codes BEFORE UPDATE ON steps
WHEN NEW.error_code IS NOT NULL AND NOT EXISTS (SELECT 1 FROM error_codes WHERE code = NEW.error_code)
BEGIN
    SELECT RAISE(ABORT, 'refused: unknown error code');
END;

CREATE TRIGGER steps_journal_insert AFTER INSERT ON steps
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'steps', NEW.transaction_key || '/' || NEW.position, 'insert', json_object(
            'transaction_key', NEW.transaction_key, 'position', NEW.position, 'kind', NEW.kind, 'attempt', NEW.attempt,
            'state', NEW.state, 'error_code', NEW.error_code, 'error_text', NEW.error_text, 'text', NEW.text,
            'started_us', NEW.started_us, 'started_monotonic_us', NEW.started_monotonic_us,
            'started_boot', hex(NEW.started_boot), 'finished_us', NEW.finished_us,
            'finished_monotonic_us', NEW.finished_monotonic_us, 'finished_boot', hex(NEW.finished_boot)
        )
    FROM gate;
END;

CREATE TRIGGER steps_journal_update AFTER UPDATE ON steps
WHEN OLD.attempt IS NOT NEW.attempt
    OR OLD.state IS NOT NEW.state
    OR OLD.error_code IS NOT NEW.error_code
    OR OLD.error_text IS NOT NEW.error_text
    OR OLD.text IS NOT NEW.text
    OR OLD.started_us IS NOT NEW.started_us
    OR OLD.started_monotonic_us IS NOT NEW.started_monotonic_us
    OR OLD.started_boot IS NOT NEW.started_boot
    OR OLD.finished_us IS NOT NEW.finished_us
    OR OLD.finished_monotonic_us IS NOT NEW.finished_monotonic_us
    OR OLD.finished_boot IS NOT NEW.finished_boot
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'steps', NEW.transaction_key || '/' || NEW.position, 'update', (
        SELECT json_group_object(name, json(pair)) FROM (
            SELECT 'attempt' AS name, json_array(OLD.attempt, NEW.attempt) AS pair WHERE OLD.attempt IS NOT NEW.attempt
            UNION ALL SELECT 'state', json_array(OLD.state, NEW.state) WHERE OLD.state IS NOT NEW.state
            UNION ALL SELECT 'error_code', json_array(OLD.error_code, NEW.error_code) WHERE OLD.error_code IS NOT NEW.error_code
            UNION ALL SELECT 'error_text', json_array(OLD.error_text, NEW.error_text) WHERE OLD.error_text IS NOT NEW.error_text
            UNION ALL SELECT 'text', json_array(OLD.text, NEW.text) WHERE OLD.text IS NOT NEW.text
            UNION ALL SELECT 'started_us', json_array(OLD.started_us, NEW.started_us) WHERE OLD.started_us IS NOT NEW.started_us
            UNION ALL SELECT 'started_monotonic_us', json_array(OLD.started_monotonic_us, NEW.started_monotonic_us) WHERE OLD.started_monotonic_us IS NOT NEW.started_monotonic_us
            UNION ALL SELECT 'started_boot', json_array(hex(OLD.started_boot), hex(NEW.started_boot)) WHERE OLD.started_boot IS NOT NEW.started_boot
            UNION ALL SELECT 'finished_us', json_array(OLD.finished_us, NEW.finished_us) WHERE OLD.finished_us IS NOT NEW.finished_us
            UNION ALL SELECT 'finished_monotonic_us', json_array(OLD.finished_monotonic_us, NEW.finished_monotonic_us) WHERE OLD.finished_monotonic_us IS NOT NEW.finished_monotonic_us
            UNION ALL SELECT 'finished_boot', json_array(hex(OLD.finished_boot), hex(NEW.finished_boot)) WHERE OLD.finished_boot IS NOT NEW.finished_boot
        )
    )
    FROM gate;
END;

-- attempts

CREATE TRIGGER attempts_no_delete BEFORE DELETE ON attempts
BEGIN
    SELECT RAISE(ABORT, 'refused: attempts are never deleted');
END;

CREATE TRIGGER attempts_insert_needs_generation BEFORE INSERT ON attempts
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER attempts_no_replace BEFORE INSERT ON attempts
WHEN EXISTS (SELECT 1 FROM attempts WHERE transaction_key = NEW.transaction_key AND number = NEW.number)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in attempts');
END;

CREATE TRIGGER attempts_update_needs_generation BEFORE UPDATE ON attempts
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER attempts_fixed_columns BEFORE UPDATE ON attempts
WHEN NEW.transaction_key IS NOT OLD.transaction_key
    OR NEW.number IS NOT OLD.number
    OR NEW.direction IS NOT OLD.direction
    OR NEW.started_us IS NOT OLD.started_us
    OR NEW.started_monotonic_us IS NOT OLD.started_monotonic_us
    OR NEW.started_boot IS NOT OLD.started_boot
BEGIN
    SELECT RAISE(ABORT, 'refused: only status and time columns change');
END;

CREATE TRIGGER attempts_journal_forward BEFORE UPDATE ON attempts
WHEN NEW.journal_seq < OLD.journal_seq
BEGIN
    SELECT RAISE(ABORT, 'refused: a journal position does not go back');
END;

CREATE TRIGGER attempts_one_result BEFORE UPDATE ON attempts
WHEN OLD.result IS NOT NULL AND NEW.result IS NOT OLD.result
    AND NOT (OLD.result = 'interrupted' AND NEW.result = 'completed')
BEGIN
    SELECT RAISE(ABORT, 'refused: the attempt has its result');
END;

CREATE TRIGGER attempts_journal_insert AFTER INSERT ON attempts
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'attempts', NEW.transaction_key || '/' || NEW.number, 'insert', json_object(
            'transaction_key', NEW.transaction_key, 'number', NEW.number, 'direction', NEW.direction, 'result', NEW.result,
            'journal_seq', NEW.journal_seq, 'started_us', NEW.started_us, 'started_monotonic_us', NEW.started_monotonic_us,
            'started_boot', hex(NEW.started_boot), 'ended_us', NEW.ended_us, 'ended_monotonic_us', NEW.ended_monotonic_us,
            'ended_boot', hex(NEW.ended_boot)
        )
    FROM gate;
END;

CREATE TRIGGER attempts_journal_update AFTER UPDATE ON attempts
WHEN OLD.result IS NOT NEW.result
    OR OLD.journal_seq IS NOT NEW.journal_seq
    OR OLD.ended_us IS NOT NEW.ended_us
    OR OLD.ended_monotonic_us IS NOT NEW.ended_monotonic_us
    OR OLD.ended_boot IS NOT NEW.ended_boot
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'attempts', NEW.transaction_key || '/' || NEW.number, 'update', (
        SELECT json_group_object(name, json(pair)) FROM (
            SELECT 'result' AS name, json_array(OLD.result, NEW.result) AS pair WHERE OLD.result IS NOT NEW.result
            UNION ALL SELECT 'journal_seq', json_array(OLD.journal_seq, NEW.journal_seq) WHERE OLD.journal_seq IS NOT NEW.journal_seq
            UNION ALL SELECT 'ended_us', json_array(OLD.ended_us, NEW.ended_us) WHERE OLD.ended_us IS NOT NEW.ended_us
            UNION ALL SELECT 'ended_monotonic_us', json_array(OLD.ended_monotonic_us, NEW.ended_monotonic_us) WHERE OLD.ended_monotonic_us IS NOT NEW.ended_monotonic_us
            UNION ALL SELECT 'ended_boot', json_array(hex(OLD.ended_boot), hex(NEW.ended_boot)) WHERE OLD.ended_boot IS NOT NEW.ended_boot
        )
    )
    FROM gate;
END;

-- events

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

CREATE TRIGGER events_no_update BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'refused: events never change');
END;
