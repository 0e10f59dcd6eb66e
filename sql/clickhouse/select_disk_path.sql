-- Called by pipelines backups.target; the server's list of disks.
SELECT path FROM system.disks WHERE name = {disk:String}
