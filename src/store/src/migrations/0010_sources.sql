-- The code of repositories that a machine is not meant to have. Only a migration adds codes.
DROP TRIGGER error_codes_no_insert;
INSERT INTO error_codes (code) VALUES ('trust.source');
CREATE TRIGGER error_codes_no_insert BEFORE INSERT ON error_codes
BEGIN
    SELECT RAISE(ABORT, 'refused: error_codes belong to the schema');
END;
