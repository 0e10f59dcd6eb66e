-- Called by pipelines backups.warehouse, right after detach_table: reads the table's parts anew.
ATTACH TABLE {database:Identifier}.{table:Identifier}
