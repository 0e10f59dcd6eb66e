-- Called by cli doctor; no table. Version, clock in epoch seconds, and whether writes are refused.
SELECT
    current_setting('server_version'),
    extract(epoch FROM clock_timestamp())::double precision,
    pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean;
