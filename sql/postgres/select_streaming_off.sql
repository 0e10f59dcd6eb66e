-- Called by the sidecar every few seconds; scans companies, which is short.
SELECT id FROM companies WHERE features -> 'streaming' = 'false'::jsonb;
