-- Called by pipelines backups.warehouse: a merge may drop rows whose time to live is over, and these
-- would be missing in the comparison.
SYSTEM STOP MERGES {database:Identifier}.{table:Identifier}
