"""Starts parts in the order of their needs, brings back what dies, stops all in reverse.

It knows nothing of the parts themselves: they are data (`embedded.part`). One event loop in the
main thread, because children must be forked there (see `embedded.child`); probes, preparations and
steps block, so they run in threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from config.tasks import end_tasks
from embedded.child import Child, ChildError
from embedded.leftovers import ProcessRecords
from embedded.part import Part, Step

RESTART_DELAYS_SECONDS = (0.0, 1.0, 2.0, 4.0, 5.0)
MOST_DEATHS = 10
LOOK_SECONDS = 0.03


class SupervisorError(RuntimeError):
    """The whole can't go on; one line."""


class Supervisor:
    """Runs `parts` and `steps` until `stop` is called or one of them fails for good.

    `say` gets each line of progress. Times in them count from the start of `run`.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        steps: Sequence[Step],
        *,
        logs: Path,
        environment: Mapping[str, str],
        records: ProcessRecords,
        say: Callable[[str], None],
    ) -> None:
        self._parts = parts
        self._steps = steps
        self._nodes: tuple[Part | Step, ...] = (*parts, *steps)
        self._children = {part.name: Child(part, logs, environment) for part in parts}
        self._records = records
        self._say = say
        self._ready = {node.name: asyncio.Event() for node in self._nodes}
        self._stopping = asyncio.Event()
        self._began = 0.0

    def stop(self) -> None:
        """Begin to stop; calling it again changes nothing."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def seconds(self) -> float:
        """Since the start of `run`."""
        return time.monotonic() - self._began

    async def wait_ready(self, *names: str) -> None:
        """Until these parts and steps have been ready once; all of them when none is named."""
        for name in names or tuple(self._ready):
            await self._ready[name].wait()

    async def run(self, beside: Sequence[Awaitable[None]] = ()) -> None:
        """Everything up to the end of the last child. `beside` runs along and is cut at the end.

        Raises:
            SupervisorError: a part died too often, or a step failed. All is stopped by then.
        """
        self._began = time.monotonic()
        works = [
            *(self._keep(part) for part in self._parts),
            *(self._do(step) for step in self._steps),
            *beside,
        ]
        tasks = [asyncio.ensure_future(work) for work in works]
        stopped = asyncio.ensure_future(self._stopped())
        try:
            await self._first_end(tasks, stopped)
        finally:
            self._stopping.set()
            await end_tasks([*tasks, stopped])
            await self._stop_all()

    async def _first_end(
        self, tasks: Sequence[asyncio.Future[None]], stopped: asyncio.Future[None]
    ) -> None:
        """Return when stopped; raise what a task raised. A task that is done ends nothing."""
        waiting = {*tasks, stopped}
        while not stopped.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def _stopped(self) -> None:
        await self._stopping.wait()

    async def _do(self, step: Step) -> None:
        await self._wait_for(step.after)
        try:
            result = await asyncio.to_thread(step.run)
        except Exception as error:
            raise SupervisorError(f"{step.name}: {error}") from error
        self._say(f"  {step.name:<16} done   {self.seconds():5.1f} s  {result}".rstrip())
        self._ready[step.name].set()

    async def _keep(self, part: Part) -> None:
        """Start the part, and start it again whenever it dies."""
        await self._wait_for(part.after)
        child = self._children[part.name]
        deaths = 0
        while True:
            try:
                if part.prepare and child.pid is None:
                    await asyncio.to_thread(part.prepare)
                child.start()
                self._records.add(child)
                await self._until_ready(child)
            except ChildError as error:
                why = str(error)
            else:
                deaths = 0
                again = " again" if self._ready[part.name].is_set() else ""
                self._say(f"  {part.name:<16} ready  {self.seconds():5.1f} s {again}".rstrip())
                self._ready[part.name].set()
                while child.running:  # noqa: ASYNC110  # a process's end is no event
                    await asyncio.sleep(LOOK_SECONDS)
                why = f"{part.name}: {child.last_words()}"
            # What the dead one left behind (a busy port, a lock) must not meet the next one.
            await asyncio.to_thread(child.stop)
            delay = RESTART_DELAYS_SECONDS[min(deaths, len(RESTART_DELAYS_SECONDS) - 1)]
            deaths += 1
            if deaths >= MOST_DEATHS:
                raise SupervisorError(
                    f"{why}; that was death {deaths} without being ready (log: {child.log})"
                )
            when = f"in {delay:g} s" if delay else "now"
            self._say(f"! {why}; starting it again {when} (log: {child.log})")
            await asyncio.sleep(delay)

    async def _until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + child.part.ready_seconds
        while child.running:
            if await asyncio.to_thread(child.part.ready):
                return
            if time.monotonic() > deadline:
                raise ChildError(
                    f"{child.part.name}: no answer within {child.part.ready_seconds:g} s"
                )
            await asyncio.sleep(LOOK_SECONDS)
        raise ChildError(f"{child.part.name}: {child.last_words()}")

    async def _wait_for(self, names: Sequence[str]) -> None:
        for name in names:
            await self._ready[name].wait()

    async def _stop_all(self) -> None:
        """A part stops when all that depend on it have stopped; what is independent, at once."""
        ends: dict[str, asyncio.Task[None]] = {}

        async def end(name: str) -> None:
            for other in self._nodes:
                if name in other.after:
                    await ends[other.name]
            if name in self._children:
                await asyncio.to_thread(self._children[name].stop)

        for node in self._nodes:
            ends[node.name] = asyncio.ensure_future(end(node.name))
        await asyncio.gather(*ends.values())
        self._records.clear()
