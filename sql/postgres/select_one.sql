-- Called by the sidecar's health check.
SELECT 1;
