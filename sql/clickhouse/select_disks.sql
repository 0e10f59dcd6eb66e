-- Called by cli doctor; the server's short list of disks. Bytes.
SELECT name, free_space, total_space, is_read_only FROM system.disks ORDER BY name
