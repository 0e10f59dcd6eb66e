-- Called by pipelines retention.apply; one partition, whose parts with such rows are written anew. With
-- `listed` the companies are the ones to delete, without it the ones to leave.
ALTER TABLE {table:Identifier} DELETE IN PARTITION ID {partition:String}
WHERE (ifNull({company_column:Identifier}, '') IN {companies:Array(String)}) = {listed:Bool}
  AND toDate({time_column:Identifier}) < {cutoff:Date}
SETTINGS mutations_sync = 2
