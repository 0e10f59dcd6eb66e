-- Called by pipelines backups.restore for a table that is taken into use.
SYSTEM START MERGES {database:Identifier}.{table:Identifier}
