-- Called by pipelines backups.platform around the exchange of two databases.
ALTER DATABASE {database} ALLOW_CONNECTIONS {allowed}
