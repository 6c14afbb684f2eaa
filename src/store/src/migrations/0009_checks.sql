-- The code of the administrator's own checks. Only a migration adds codes.
DROP TRIGGER error_codes_no_insert;
INSERT INTO error_codes (code) VALUES ('check.failed');
CREATE TRIGGER error_codes_no_insert BEFORE INSERT ON error_codes
BEGIN
    SELECT RAISE(ABORT, 'refused: error_codes belong to the schema');
END;
