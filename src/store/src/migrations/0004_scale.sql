-- The transactions of a package in the order of the record, however many there are.
CREATE INDEX items_by_name ON items (name, transaction_key);
