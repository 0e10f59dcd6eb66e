"""Which version a company's data in the warehouse is of: the names of the parts that hold its rows.

Nothing has to announce a change, whoever made it: the sink of any instance, the cohort sync, a
restore or a hand. Asked for in two steps, because the second reads data: a table whose parts are
the same as a second ago has no company with news. When they are not, all companies that are asked
about at that time are looked up by one statement.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from config.names import TABLE_EVENTS, TABLE_METRICS, TABLE_USER_COHORTS
from stream_api.errors import Refusal
from stream_api.recent import Recent
from stream_api.warehouse import Warehouse, WarehouseAwayError

AGE_SECONDS = 1.0
# Askers of one burst share a statement; the first of them waits this long for the others.
GATHER_SECONDS = 0.002
# Past this many companies the longest unused is looked up again.
MAX_COMPANIES = 10_000

Kind = Literal["metrics", "events"]
TABLES: dict[str, list[str]] = {
    "metrics": [TABLE_METRICS, TABLE_USER_COHORTS],
    "events": [TABLE_EVENTS, TABLE_USER_COHORTS],
}
NO_ROWS = "none"

Versions = dict[str, str]


@dataclass
class _Batch:
    """Companies that are looked up together."""

    company_ids: set[str] = field(default_factory=set)


class DataVersions:
    """Versions of companies' data, a second old at most."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._parts: Recent[str] = Recent(self._load_parts, AGE_SECONDS, len(TABLES))
        # Kind and company → the tables' version it was looked up at, and the lookup.
        self._known: OrderedDict[tuple[Kind, str], tuple[str, asyncio.Task[Versions]]] = (
            OrderedDict()
        )
        self._gathering: dict[Kind, tuple[_Batch, asyncio.Task[Versions]]] = {}

    async def of(self, company_id: str, kind: Kind) -> str:
        """Changes with every committed change of the company's rows of this kind, or its members.

        Raises:
            Refusal: 503 when ClickHouse does not answer.
        """
        parts = await self._parts.get(kind)
        known = self._known.get((kind, company_id))
        if known is None or known[0] != parts or _failed(known[1]):
            known = (parts, self._look_up(company_id, kind))
            self._known[kind, company_id] = known
            self._known.move_to_end((kind, company_id))
            if len(self._known) > MAX_COMPANIES:
                self._known.popitem(last=False)
        versions = await asyncio.shield(known[1])
        return versions.get(company_id, NO_ROWS)

    def _look_up(self, company_id: str, kind: Kind) -> asyncio.Task[Versions]:
        if kind not in self._gathering:
            batch = _Batch()
            task = asyncio.create_task(self._load(kind, batch))
            self._gathering[kind] = (batch, task)
        batch, task = self._gathering[kind]
        batch.company_ids.add(company_id)
        return task

    async def _load(self, kind: Kind, batch: _Batch) -> Versions:
        await asyncio.sleep(GATHER_SECONDS)
        del self._gathering[kind]
        try:
            rows = await self._warehouse.rows(
                f"select_{kind}_versions",
                {"company_ids": sorted(batch.company_ids)},
                # Parts are what is asked for, so rows need not be merged for it.
                final=0,
            )
        except WarehouseAwayError as error:
            raise Refusal(503, f"ClickHouse does not answer: {error}", 5) from None
        return {str(company): str(version) for company, version in rows}

    async def _load_parts(self, kind: str) -> str:
        try:
            rows = await self._warehouse.rows("select_parts_version", {"tables": TABLES[kind]})
        except WarehouseAwayError as error:
            raise Refusal(503, f"ClickHouse does not answer: {error}", 5) from None
        return str(rows[0][0])


def _failed(task: asyncio.Task[Versions]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
