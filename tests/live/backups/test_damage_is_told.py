"""From a damaged file to a person: drill, failed check, webhook, and the end of it."""

from __future__ import annotations

import dagster as dg
from pydantic import SecretStr

from pipelines.defs.backups.record import Kind
from tests.live.backups.conftest import World
from tests.live.backups.test_backup import damage
from tests.live.backups.test_flow import run
from tests.live.http_receiver import http_receiver
from tests.live.pipelines.test_alerts import tick, told

CHECK = "check/restore_drills/the_newest_backup_restores"


def test_a_damaged_backup_reaches_the_webhook_by_name_and_so_does_the_next_good_one(
    world: World,
) -> None:
    with dg.instance_for_test() as instance, http_receiver() as receiver:
        watched = world.settings.model_copy(
            update={
                "clickhouse_enabled": False,
                "streaming_enabled": False,
                "alert_webhook_url": SecretStr(receiver.url),
            }
        )
        backup = world.take(Kind.FULL)
        damage(world.files(backup, "events/*/data.bin")[0])
        assert not run(world, "drill_restore", instance).success
        tick(instance, watched)
        opened = {key: text for state, key, text in told(receiver) if state == "open"}
        assert f" ago: {backup.backup_id}: events: part" in opened[CHECK]
        # The run fails with its check, which is a fact of its own.
        assert set(opened) == {CHECK, "run/drill_restore"}

        assert run(world, "back_up_full", instance).success
        assert run(world, "drill_restore", instance).success
        tick(instance, watched)
        ended = {key for state, key, _ in told(receiver) if state == "resolved"}
        assert ended == {CHECK, "run/drill_restore"}
