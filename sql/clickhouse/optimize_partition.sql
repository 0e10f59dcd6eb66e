-- Called by pipelines retention.apply: one part out of a closed day's many.
OPTIMIZE TABLE {database:Identifier}.{table:Identifier} PARTITION ID {partition:String} FINAL
