-- Called by pipelines backups.restore for a table that the database lacks, of an earlier schema.
RENAME TABLE {scratch:Identifier}.{table:Identifier} TO {database:Identifier}.{table:Identifier}
