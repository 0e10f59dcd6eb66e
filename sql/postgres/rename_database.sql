-- Called by pipelines backups.platform, when nobody is connected to it.
ALTER DATABASE {database} RENAME TO {new_name}
