-- Called by benchmarks.cohorts: metric rows, the same for the same numbers. Of company k of 200 there
-- are the users from n·√(k/200) on, so that the first has 7 % of all and the last 0.25 %.
INSERT INTO metrics_timeseries
SELECT
    concat('company-', toString(toUInt32(200 * pow((user + 0.5) / {users:UInt64}, 2)))) AS company_id,
    concat('metric_', toString(cityHash64('metric', number) % 10)) AS metric_name,
    (cityHash64('value', number) % 100000) / 100000 AS metric_value,
    toDate('2024-01-01') + toIntervalMonth(cityHash64('period', number) % 24) AS period_start,
    toDateTime64(period_start, 3, 'UTC') + toIntervalSecond(number % 2419200) AS timestamp,
    concat('user-', toString(user)) AS user_id,
    '{}' AS dimensions,
    concat('metrics.calculated-', toString(number), '-1700000000000') AS event_id
FROM (
    SELECT number, cityHash64('user', number) % {users:UInt64} AS user
    FROM numbers({first:UInt64}, {rows:UInt64})
)
