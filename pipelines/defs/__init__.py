"""A folder a flow: `definitions.py` is its contents; modules without Dagster do the work."""
