-- Called by pipelines retention.apply, for tables that know no company; one partition, whose parts with
-- such rows are written anew.
ALTER TABLE {database:Identifier}.{table:Identifier} DELETE IN PARTITION ID {partition:String}
WHERE toDate({time_column:Identifier}) < {cutoff:Date}
SETTINGS mutations_sync = 2
