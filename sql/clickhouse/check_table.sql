-- Called by pipelines backups.warehouse; reads every file of every part against its checksum.
CHECK TABLE {database:Identifier}.{table:Identifier}
SETTINGS check_query_single_value_result = 0
FORMAT JSONEachRow
