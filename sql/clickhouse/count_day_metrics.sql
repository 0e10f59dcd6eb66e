-- Called by pipelines partitions.rebuild: rows of metrics_timeseries of the day's events, and those that
-- are there twice under two keys. The event's time is the last part of its id; reads that column whole.
SELECT count(), count() - uniqExact(event_id)
FROM metrics_timeseries FINAL
WHERE toDate(fromUnixTimestamp64Milli(toInt64OrZero(splitByChar('-', event_id)[-1]), 'UTC')) = {day:Date}
