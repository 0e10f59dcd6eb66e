-- Called by sql.migrations; 1 when the table exists, and no error when its database does not.
SELECT count() FROM system.tables WHERE database = {database:String} AND name = {table:String}
