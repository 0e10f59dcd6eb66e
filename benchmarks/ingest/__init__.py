"""From the stream into the warehouse: rows a second, CPU a row, memory, and time to be seen."""
