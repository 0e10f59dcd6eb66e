-- Called by pipelines partitions.history, once a step of a plan.
INSERT INTO partition_actions
    (decided_for, run_id, action, outcome, dataset, table_name, partition_id, companies, "rows", bytes,
     duration_seconds, reason)
VALUES (%(decided_for)s, %(run_id)s, %(action)s, %(outcome)s, %(dataset)s, %(table_name)s,
        %(partition_id)s, %(companies)s, %(rows)s, %(bytes)s, %(duration_seconds)s, %(reason)s)
