-- Called by cli doctor, of the engine's list of detached parts: how many, and bytes on disk.
SELECT count(), sum(bytes_on_disk) FROM system.detached_parts WHERE database = currentDatabase()
