-- Called by pipelines retention.apply, right after the partition was found to have nothing that is kept.
ALTER TABLE {database:Identifier}.{table:Identifier} DROP PARTITION ID {partition:String}
