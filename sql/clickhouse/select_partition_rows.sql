-- Called by pipelines partitions.stock: rows of one partition by company and day; prunes to the
-- partition by _partition_id.
SELECT toString(ifNull({company_column:Identifier}, '')) AS company, toDate({time_column:Identifier}) AS day, count()
FROM {table:Identifier}
WHERE _partition_id = {partition:String}
GROUP BY company, day
