-- Called by pipelines backups.restore; one step, readers see the old table or the new one.
EXCHANGE TABLES {database:Identifier}.{table:Identifier} AND {scratch:Identifier}.{table:Identifier}
