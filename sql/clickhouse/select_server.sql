-- Called by cli doctor; no table. Version, clock in epoch milliseconds, and the user's `readonly`.
SELECT version(), toUnixTimestamp64Milli(now64(3)), getSetting('readonly')
