"""The supervisor with small real processes: order, restarts, giving up, stopping, kill -9."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from embedded import supervisor as supervisor_module
from embedded.child import wait_until
from embedded.leftovers import TOKEN_VARIABLE, ProcessRecords
from embedded.part import Part, Step
from embedded.supervisor import Supervisor, SupervisorError

# A bound for what the kernel does at once; generous for loaded machines.
SOON_SECONDS = 30
SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")
DIE = (sys.executable, "-c", "import sys; sys.exit('no such table')")


class Lines(list[str]):
    """What the supervisor said."""

    def about(self, text: str) -> list[str]:
        return [line for line in self if text in line]


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def build(tmp_path: Path, lines: Lines) -> Callable[..., Supervisor]:
    def _build(*parts: Part, steps: tuple[Step, ...] = ()) -> Supervisor:
        records = ProcessRecords(tmp_path / "processes.json")
        return Supervisor(
            parts,
            steps,
            logs=tmp_path / "logs",
            environment={**os.environ, TOKEN_VARIABLE: records.token},
            records=records,
            say=lines.append,
        )

    return _build


def part(name: str, command: tuple[str, ...] = SLEEP, **rest: object) -> Part:
    return Part(name, command, **{"ready": lambda: True, **rest})  # type: ignore[arg-type]


async def test_starts_in_the_order_of_needs_and_stops_in_reverse(
    build: Callable[..., Supervisor], tmp_path: Path
) -> None:
    order: list[str] = []
    journal = tmp_path / "journal"
    note = textwrap.dedent(
        f"""
        import signal, sys, time
        def end(*_):
            with open({str(journal)!r}, "a") as file: print(sys.argv[1], file=file)
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        open(sys.argv[2], "w").close()
        time.sleep(600)
        """
    )

    def noting(name: str, **rest: object) -> Part:
        up = tmp_path / f"{name}.up"
        return part(name, (sys.executable, "-c", note, name, str(up)), ready=up.exists, **rest)

    def migrate() -> str:
        order.append("migrate")
        assert (tmp_path / "database.up").exists()
        assert not (tmp_path / "service.up").exists()
        return "2 applied"

    supervisor = build(
        noting("service", after=("migrate",)),
        noting("database"),
        steps=(Step("migrate", migrate, after=("database",)),),
    )
    run = asyncio.create_task(supervisor.run())
    await supervisor.wait_ready()
    supervisor.stop()
    supervisor.stop()
    await run
    assert order == ["migrate"]
    assert journal.read_text().split() == ["service", "database"]


async def test_a_dead_child_comes_back_with_a_line_that_says_so(
    build: Callable[..., Supervisor], lines: Lines, tmp_path: Path
) -> None:
    supervisor = build(part("service"))
    run = asyncio.create_task(supervisor.run())
    await supervisor.wait_ready()
    first = recorded_pid(tmp_path)
    os.kill(first, signal.SIGKILL)
    assert await until(lambda: len(lines.about("ready")) == 2)
    second = recorded_pid(tmp_path)
    supervisor.stop()
    await run
    assert second != first
    assert "service: was ended by SIGKILL; starting it again now" in lines.about("!")[0]
    assert not running(second)


async def test_ten_deaths_without_being_ready_end_the_whole(
    build: Callable[..., Supervisor], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "RESTART_DELAYS_SECONDS", (0.0, 0.01, 0.02, 0.04, 0.05))
    supervisor = build(part("other"), part("service", DIE, ready=lambda: False))
    with pytest.raises(
        SupervisorError, match=r"service: ended with exit code 1: no such table.*10"
    ):
        await supervisor.run()
    assert len(lines.about("starting it again")) == 9
    assert "in 0.05 s" in lines.about("starting it again")[-1]


async def test_a_failed_step_ends_the_whole_and_names_itself(
    build: Callable[..., Supervisor],
) -> None:
    def fail() -> str:
        raise RuntimeError("0001_events: edited")

    supervisor = build(part("other"), steps=(Step("migrations", fail, after=("other",)),))
    with pytest.raises(SupervisorError, match="migrations: 0001_events: edited"):
        await supervisor.run()


async def test_a_child_that_never_answers_counts_as_dead(
    build: Callable[..., Supervisor], lines: Lines
) -> None:
    supervisor = build(part("mute", ready=lambda: False, ready_seconds=0.05))
    run = asyncio.create_task(supervisor.run())
    said = "mute: no answer within 0.05 s; starting it again now"
    assert await until(lambda: bool(lines.about(said)))
    supervisor.stop()
    await run


async def test_what_runs_beside_and_loses_its_cancellation_is_cancelled_again(
    build: Callable[..., Supervisor],
) -> None:
    lost = []

    async def watch() -> None:
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append("once")

    supervisor = build()
    run = asyncio.create_task(supervisor.run([watch()]))
    await asyncio.sleep(0)
    supervisor.stop()
    await run
    assert lost == ["once"]


async def test_a_child_deaf_to_sigterm_is_killed_with_its_own_children(
    build: Callable[..., Supervisor], tmp_path: Path
) -> None:
    up = tmp_path / "up"
    code = textwrap.dedent(
        f"""
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open({str(up)!r} + ".partial", "w") as file: file.write(str(child.pid))
        import os; os.rename({str(up)!r} + ".partial", {str(up)!r})
        time.sleep(600)
        """
    )
    deaf = part("deaf", (sys.executable, "-c", code), ready=up.exists, stop_seconds=0.2)
    supervisor = build(deaf)
    run = asyncio.create_task(supervisor.run())
    await supervisor.wait_ready()
    supervisor.stop()
    await run
    assert wait_until(lambda: not running(int(up.read_text())), SOON_SECONDS)


@pytest.fixture
def killed_supervisor(tmp_path: Path) -> Iterator[Path]:
    """The folder of a supervisor that was killed with -9 while a child and a grandchild ran."""
    code = textwrap.dedent(
        f"""
        import asyncio, os, signal, sys
        from pathlib import Path
        # As it is inherited from a parent that keeps its signals for itself.
        signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        from embedded.leftovers import TOKEN_VARIABLE, ProcessRecords
        from embedded.part import Part
        from embedded.supervisor import Supervisor
        folder = Path({str(tmp_path)!r})
        grandchild = (
            "import os, subprocess, sys, time;"
            "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
            "open(sys.argv[1] + '.partial', 'w').write(str(p.pid));"
            "os.rename(sys.argv[1] + '.partial', sys.argv[1]); time.sleep(600)"
        )
        up = folder / "grandchild"
        records = ProcessRecords(folder / "processes.json")
        part = Part("service", (sys.executable, "-c", grandchild, str(up)), ready=up.exists)
        supervisor = Supervisor(
            (part,), (), logs=folder / "logs", records=records, say=print,
            environment={{**os.environ, TOKEN_VARIABLE: records.token}},
        )
        asyncio.run(supervisor.run())
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    try:
        assert wait_until((tmp_path / "grandchild").exists, SOON_SECONDS)
        assert wait_until((tmp_path / "processes.json").exists, SOON_SECONDS)
    finally:
        process.kill()
        process.wait()
    yield tmp_path
    ProcessRecords(tmp_path / "processes.json").end_leftovers()


def test_children_die_with_a_killed_supervisor_and_the_next_one_ends_the_rest(
    killed_supervisor: Path,
) -> None:
    child = recorded_pid(killed_supervisor)
    grandchild = int((killed_supervisor / "grandchild").read_text())
    assert wait_until(lambda: not running(child), SOON_SECONDS)
    assert running(grandchild)  # the kernel's signal reaches only children
    ended = ProcessRecords(killed_supervisor / "processes.json").end_leftovers()
    assert ended == ["service"]
    assert not running(grandchild)


def test_a_number_that_another_process_has_by_now_is_left_alone(tmp_path: Path) -> None:
    bystander = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        record = (
            f'[{{"name": "service", "pid": {bystander.pid}, "started": 1.0, "command": ["x"],'
            ' "stop_signal": 15, "token": "t"}]'
        )
        (tmp_path / "processes.json").write_text(record)
        assert ProcessRecords(tmp_path / "processes.json").end_leftovers() == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def until(condition: Callable[[], bool]) -> bool:
    return await asyncio.to_thread(wait_until, condition, SOON_SECONDS)


def recorded_pid(folder: Path) -> int:
    return int(json.loads((folder / "processes.json").read_text())[0]["pid"])


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
