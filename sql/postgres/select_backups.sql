-- Called by pipelines backups.catalogue; all rows (some hundred), by backups_started_idx.
SELECT to_jsonb(backups) FROM backups ORDER BY started_at, backup_id
