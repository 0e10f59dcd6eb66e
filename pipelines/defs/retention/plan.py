"""What is due: partitions to drop, rows to delete, parts to merge, ages of streams to change.

A plan changes nothing. It carries what an operator needs to say yes: rows, bytes and the reason of
each step, and what it leaves alone though it looks odd.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

import psycopg
from clickhouse_connect.driver.client import Client

from config.names import DLQ_STREAM, EVENTS_STREAM
from pipelines.defs.partitions.parts import wants_merge
from pipelines.defs.partitions.stock import Partition, read_partitions, read_rows
from pipelines.defs.partitions.strays import find_detached, find_strays
from pipelines.defs.retention.evaluation import Rows, evaluate
from pipelines.defs.retention.policies import Policies, Policy, read_policies
from pipelines.event_stream import EventStream

Action = Literal["drop", "delete", "optimize", "widen", "narrow"]
DAY_SECONDS = 86_400
HOUR_SECONDS = 3600
# Values of one statement's list; the rest goes in further statements.
LISTED_COMPANIES = 1000
SHOWN_STEPS = 200
SHOWN_COMPANIES = 5


@dataclass(frozen=True)
class Step:
    """One thing to do.

    `name` is a table, or a stream with an empty `partition_id`. A `delete` takes rows before
    `cutoff`: of `companies` when `listed`, else of all but `companies`. `rows` and `bytes` are what
    goes, or what is merged; bytes of a delete are in proportion. `seconds` is a stream's new age.
    """

    action: Action
    dataset: str
    name: str
    partition_id: str
    rows: int
    bytes: int
    reason: str
    database: str = ""
    cutoff: date | None = None
    companies: tuple[str, ...] = ()
    listed: bool = True
    company_count: int = 0
    seconds: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same step in another plan."""
        return (self.action, self.database, self.name, self.partition_id, self.cutoff, self.listed)

    @property
    def whose(self) -> str:
        """Companies whose rows go, the first by name; empty where none is asked about."""
        if not self.listed:
            return f"{self.company_count} by default"
        shown = ", ".join(self.companies[:SHOWN_COMPANIES])
        more = len(self.companies) - SHOWN_COMPANIES
        named = f"{shown} and {more} more" if more > 0 else shown
        return named or (str(self.company_count) if self.company_count else "")


@dataclass(frozen=True)
class Plan:
    """Steps in the order in which they are done, and notes on what is left alone."""

    now: datetime
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    @property
    def figures(self) -> dict[str, int]:
        """Numbers that the UI plots: steps by action, rows and bytes that go."""
        going = [step for step in self.steps if step.action in {"drop", "delete"}]
        return {
            **{
                action: sum(step.action == action for step in self.steps)
                for action in ("drop", "delete", "optimize", "widen", "narrow")
            },
            "rows": sum(step.rows for step in going),
            "bytes": sum(step.bytes for step in going),
            "notes": len(self.notes),
        }

    def table(self) -> str:
        """Markdown: a line a step, then the notes."""
        lines = [
            "| action | dataset | what | partition | companies | rows | bytes | why |",
            "|---" * 8 + "|",
        ]
        for step in self.steps[:SHOWN_STEPS]:
            lines.append(
                f"| {step.action} | {step.dataset} | {step.name} | {step.partition_id or '-'} "
                f"| {step.whose or '-'} | {step.rows} | {step.bytes} | {step.reason} |"
            )
        if len(self.steps) > SHOWN_STEPS:
            lines.append(f"\n{len(self.steps) - SHOWN_STEPS} more steps")
        lines += [f"\n- {note}" for note in self.notes]
        return "\n".join(lines)


def plan_retention(
    pg: psycopg.Connection,
    ch: Client,
    now: datetime,
    stream: EventStream | None = None,
    *,
    narrow_streams: bool = False,
) -> Plan:
    """What is due at `now` by the table of policies; reads only.

    Streams are looked at when one is given; they are widened to their policy, and narrowed only
    when that is asked for.

    Raises:
        PolicyError: the table names no default for a dataset.
    """
    policies = read_policies(pg)
    today = now.astimezone(UTC).date()
    partitions = read_partitions(ch)
    steps = [step for one in partitions for step in plan_partition(ch, one, policies, today)]
    notes = find_strays(partitions, today) + find_detached(ch)
    if stream is not None:
        for step in plan_streams(stream, policies):
            if step.action == "narrow" and not narrow_streams:
                notes.append(f"{step.name}: {step.reason}; narrowed only when asked to")
            else:
                steps.append(step)
    return Plan(now, tuple(steps), tuple(notes))


def plan_partition(ch: Client, partition: Partition, policies: Policies, today: date) -> list[Step]:
    """Steps for one partition as it is now; its rows are read only when one may be due."""
    if partition.begin is None:
        return []
    policy = policy_of(partition, policies)
    table = partition.table
    if partition.begin < policy.latest_cutoff(today, table.grain):
        steps = list(decide(partition, read_rows(ch, partition), policy, today))
        if steps:
            return steps
    if wants_merge(partition, today):
        reason = f"closed with {partition.parts} parts"
        return [_step(partition, "optimize", partition.rows, partition.bytes, reason)]
    return []


def policy_of(partition: Partition, policies: Policies) -> Policy:
    """The policy of the partition's rows."""
    policy = policies.of(partition.table.dataset)
    return policy if partition.table.company_column else policy.longest()


def decide(partition: Partition, rows: Rows, policy: Policy, today: date) -> Iterator[Step]:
    """The verdict on a partition as steps that can be done."""
    if partition.end is None:
        return
    verdict = evaluate(rows, policy, today, partition.table.grain, partition.end)
    if verdict.drop:
        reason = f"all of it is past {policy.days} days" + (
            " or its company's own" if policy.companies else ""
        )
        step = _step(partition, "drop", verdict.rows, partition.bytes, reason)
        yield _with(step, company_count=verdict.companies)
        return
    total = max(1, sum(rows.values()))
    for expired in verdict.delete:
        counts = {
            company: sum(n for (c, day), n in rows.items() if c == company and day < expired.cutoff)
            for company in expired.companies
        }
        own = [company for company in expired.companies if company in policy.companies]
        others = [company for company in expired.companies if company not in policy.companies]
        groups = [own[n : n + LISTED_COMPANIES] for n in range(0, len(own), LISTED_COMPANIES)]
        for listed, companies in [(True, group) for group in groups] + [(False, others)]:
            if not companies:
                continue
            gone = sum(counts[company] for company in companies)
            yield _with(
                _step(
                    partition,
                    "delete",
                    gone,
                    partition.bytes * gone // total,
                    f"older than {expired.cutoff}; others keep theirs in this partition",
                ),
                cutoff=expired.cutoff,
                listed=listed,
                # Without `listed`: whose rows stay, because they have days of their own.
                companies=tuple(companies if listed else sorted(policy.companies)),
                company_count=len(companies),
            )


def plan_streams(stream: EventStream, policies: Policies) -> Iterator[Step]:
    """Ages of the streams against their policies; the sidecar makes one that does not exist."""
    wanted = {
        ("replay", EVENTS_STREAM): policies.replay_hours * HOUR_SECONDS,
        ("dead_letters", DLQ_STREAM): policies.of("dead_letters").longest().days * DAY_SECONDS,
    }
    for (dataset, name), seconds in wanted.items():
        age = stream.age(name)
        if age is None or age == seconds:
            continue
        narrower = age == 0 or age > seconds
        said = "for ever" if age == 0 else f"{age} s"
        yield Step(
            "narrow" if narrower else "widen",
            *(dataset, name, "", 0, 0, f"keeps {said}, the policy is {seconds} s"),
            seconds=seconds,
        )


def _step(partition: Partition, action: Action, rows: int, size: int, reason: str) -> Step:
    return Step(
        action,
        partition.table.dataset,
        partition.table.name,
        partition.partition_id,
        rows,
        size,
        reason,
        database=partition.database,
    )


def _with(step: Step, **changed: object) -> Step:
    return Step(**{**vars(step), **changed})
