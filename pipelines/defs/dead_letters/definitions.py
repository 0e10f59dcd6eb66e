"""Contents of the dead letters' flow."""

import dagster as dg

from pipelines.defs.dead_letters.growth import (
    dead_letters,
    dead_letters_sensor,
    no_dead_letter_came_in_lately,
)

flow = dg.Definitions(
    assets=[dead_letters],
    asset_checks=[no_dead_letter_came_in_lately],
    sensors=[dead_letters_sensor],
)
