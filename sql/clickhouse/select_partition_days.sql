-- Called by pipelines partitions.stock: rows of one partition by day, of a table that knows no company;
-- prunes to the partition by _partition_id.
SELECT '' AS company, toDate({time_column:Identifier}) AS day, count()
FROM {database:Identifier}.{table:Identifier}
WHERE _partition_id = {partition:String}
GROUP BY day
