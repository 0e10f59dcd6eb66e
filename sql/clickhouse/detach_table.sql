-- Called by pipelines backups.warehouse, right before attach_table: a restored table that nobody uses yet.
DETACH TABLE {database:Identifier}.{table:Identifier} SYNC
