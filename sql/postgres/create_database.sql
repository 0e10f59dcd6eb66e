-- Called by pipelines backups.platform. From template0, so that the dump meets nothing.
CREATE DATABASE {database} TEMPLATE template0
