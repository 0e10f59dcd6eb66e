-- Called by pipelines backups.warehouse for scratch databases; SYNC, so that the disk is free again.
DROP DATABASE IF EXISTS {database:Identifier} SYNC
