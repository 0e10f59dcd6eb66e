"""Old runs go with their events; young ones, partitions and unfinished ones stay."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from pipelines.defs.instance.definitions import purge_old_runs
from pipelines.defs.instance.run_history import delete_runs, find_old_runs


@dg.op
def work() -> None:
    """Nothing."""


@dg.job
def any_job() -> None:
    work()


def test_old_runs_go_and_partitions_stay_longer() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        plain = any_job.execute_in_process(instance=instance)
        day = any_job.execute_in_process(
            instance=instance, tags={"dagster/partition": "2026-01-01"}
        )
        unfinished = instance.create_run_for_job(any_job, status=dg.DagsterRunStatus.STARTED)

        def old_after(days: int) -> set[str]:
            now = datetime.now(UTC) + timedelta(days=days)
            found = find_old_runs(instance, now, timedelta(days=14), timedelta(days=120))
            return set(found.old)

        assert old_after(13) == set()
        assert old_after(15) == {plain.run_id}
        assert old_after(121) == {plain.run_id, day.run_id}
        now = datetime.now(UTC) + timedelta(days=15)
        found = find_old_runs(instance, now, timedelta(days=14), timedelta(days=120))
        assert delete_runs(instance, found) == 1
        assert {run.run_id for run in instance.get_runs()} == {day.run_id, unfinished.run_id}
        assert not instance.all_logs(plain.run_id)


def test_the_job_runs_as_it_is() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert purge_old_runs.execute_in_process(instance=instance).success
