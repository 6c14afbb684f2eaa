-- Words that a caller gave a request, so that it is found again by them. They are part of the request's bytes, which are digested; here
-- they are an index of those.
--
-- The rules of 0001 hold here too, and that of 0007: what lies in an archive that the open generation lists may leave.

CREATE TABLE tags (
    transaction_key INTEGER NOT NULL REFERENCES transactions (key),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64 AND name GLOB '[a-z0-9]*' AND name NOT GLOB '*[^-a-z0-9._:=/+@]*'),
    PRIMARY KEY (transaction_key, name)
) STRICT, WITHOUT ROWID;
-- The transactions with a tag in the order of the record.
CREATE INDEX tags_by_name ON tags (name, transaction_key);

CREATE TRIGGER tags_no_delete BEFORE DELETE ON tags
WHEN OLD.transaction_key > coalesce((SELECT a.last_transaction FROM gate g JOIN archives a ON a.key = g.moves AND a.generation = g.generation), 0)
BEGIN
    SELECT RAISE(ABORT, 'refused: tags are never deleted');
END;

CREATE TRIGGER tags_insert_needs_generation BEFORE INSERT ON tags
WHEN (SELECT generation FROM gate) IS NULL
BEGIN
    SELECT RAISE(ABORT, 'refused: no generation is open');
END;

CREATE TRIGGER tags_no_replace BEFORE INSERT ON tags
WHEN EXISTS (SELECT 1 FROM tags WHERE transaction_key = NEW.transaction_key AND name = NEW.name)
BEGIN
    SELECT RAISE(ABORT, 'refused: there is such a row in tags');
END;

-- The request follows in the same commit.
CREATE TRIGGER tags_before_request BEFORE INSERT ON tags
WHEN EXISTS (SELECT 1 FROM requests WHERE transaction_key = NEW.transaction_key)
BEGIN
    SELECT RAISE(ABORT, 'refused: tags come with their request and not later');
END;

CREATE TRIGGER tags_no_update BEFORE UPDATE ON tags
BEGIN
    SELECT RAISE(ABORT, 'refused: tags never change');
END;

CREATE TRIGGER tags_journal_insert AFTER INSERT ON tags
BEGIN
    INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields)
    SELECT generation, run, at_us, 'tags', NEW.transaction_key || '/' || NEW.name, 'insert', json_object(
            'transaction_key', NEW.transaction_key, 'name', NEW.name
        )
    FROM gate;
END;
