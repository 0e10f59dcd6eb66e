-- Called by sql.migrations; every other statement runs with this database as the default one.
CREATE DATABASE IF NOT EXISTS {database:Identifier}
