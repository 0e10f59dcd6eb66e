-- Called by pipelines backups.warehouse; the server's list of backups since its start.
SELECT compressed_size, num_files FROM system.backups WHERE id = {id:String}
