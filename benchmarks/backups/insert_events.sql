-- Called by benchmarks.backups; no table is read. Users, values and ids look like the demo's: payloads
-- of about 190 bytes that compress as real ones do, not as constants.
INSERT INTO events
SELECT
    concat('metrics.calculated-', toString(number), '-1700000000000'),
    'metrics.calculated',
    concat('company-', toString(cityHash64(number, 1) % 50)),
    concat('user-', toString(cityHash64(number, 2) % 20000)),
    received_at,
    received_at,
    number,
    concat(
        '{"companyId":"company-', toString(cityHash64(number, 1) % 50),
        '","userId":"user-', toString(cityHash64(number, 2) % 20000),
        '","metricName":"', ['integration_score', 'social_capital', 'job_readiness'][number % 3 + 1],
        '","value":', toString(round((cityHash64(number, 3) % 100000) / 100000, 5)),
        ',"periodStart":"2026-10-01","dimensions":{"program":"mentorship"}}'
    )
FROM (
    SELECT
        number,
        toDateTime64({begin:Date}, 3, 'UTC')
            + toIntervalMillisecond(intDiv(number * {days:UInt64} * 86400000, {total:UInt64})) AS received_at
    FROM numbers({first:UInt64}, {count:UInt64})
)
