"""`analytics import`: events of the past out of files, into the warehouse."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from cli.import_events import LineReader, is_event_subject
from cli.import_lines import LineBatch, Place, open_lines
from cli.import_summary import Summary, as_json_object, as_text
from cli.refusal import Refused, one_line
from cli.servers import connect_clickhouse, read_settings, refuse_clickhouse
from cli.token import valid_company
from config.names import TABLE_DEAD_LETTERS, TABLE_EVENTS, TABLE_METRICS
from events import rows
from events.accept import Event, Reason, Rejection
from events.rows import INSERT_SETTINGS, DeadLetter
from sql import statement
from stream_api.warehouse import REFUSED_ROW_CODES


def valid_subject(value: str | None) -> str | None:
    """Callback of `--subject`.

    Raises:
        typer.BadParameter: no event is published on it.
    """
    if value is not None and not is_event_subject(value):
        raise typer.BadParameter("a subject of events is for example metrics.calculated")
    return value


def valid_company_or_none(value: str | None) -> str | None:
    """Callback of `--company`."""
    return None if value is None else valid_company(value)


def import_history(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="An event a line, also gzip.")
    ],
    company: Annotated[
        str | None,
        typer.Option(callback=valid_company_or_none, help="For events that name no company."),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(callback=valid_subject, help="For lines without the member subject or type."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decide on every line; write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file.")] = False,
) -> None:
    """Import events of the past. A file given twice, or cut and begun again, doubles nothing."""
    settings = read_settings()
    if not settings.clickhouse_enabled:
        raise Refused("the warehouse is switched off; set CLICKHOUSE_ENABLED=true")
    for path in files:
        if not path.is_file():
            raise Refused(f"{path}: no such file")
    try:
        with contextlib.closing(connect_clickhouse(settings, settings.clickhouse_database)) as ch:
            for path in files:
                summary = Import(ch, path, company, subject, dry_run).run()
                print(json.dumps(as_json_object(summary)) if as_json else as_text(summary, dry_run))
    except ClickHouseError as error:
        refused = refuse_clickhouse(settings, error)
        raise Refused(f"{refused}; the same command goes on where this one ended") from None


class Import:
    """One file into the warehouse. A batch is written while the next one is decided on."""

    def __init__(
        self, ch: Client, path: Path, company: str | None, subject: str | None, dry_run: bool
    ) -> None:
        self._ch = ch
        self._path = path
        self._dry_run = dry_run
        # Another company or subject makes other events of the same lines.
        self._checkpoint = f"import {company or '-'} {subject or '-'} {path.resolve()}"
        self._reader = LineReader(
            file_name=path.name,
            subject=subject,
            company=company,
            now_ms=int(time.time() * 1000),
            file_ms=int(path.stat().st_mtime * 1000),
        )
        self._summary = Summary(str(path))

    def run(self) -> Summary:
        """Import from the last checkpoint on; forget it at the end.

        Raises:
            Refused: the file can't be read, or nothing at its beginning is an event.
            ClickHouseError: the warehouse; what is behind the last checkpoint stays.
        """
        began = time.monotonic()
        begin = Place() if self._dry_run else self._read_checkpoint()
        try:
            with open_lines(self._path, begin) as (begin, batches):
                self._summary.resumed_at = begin.line
                self._run(batches, begin)
        except (OSError, EOFError, zlib.error) as error:
            raise Refused(f"{self._path}: {one_line(error) or type(error).__name__}") from None
        if not self._dry_run:
            self._write_checkpoint(Place())
        self._summary.seconds = time.monotonic() - began
        return self._summary

    def _run(self, batches: Iterator[LineBatch], begin: Place) -> None:
        size = self._path.stat().st_size
        # Two writers: both tables of a batch are written at the same time.
        with (
            ThreadPoolExecutor(3) as pool,
            typer.progressbar(
                length=size, label=self._path.name, file=sys.stderr, hidden=not sys.stderr.isatty()
            ) as bar,
        ):
            writing: Future[None] | None = None
            shown = 0
            for batch in batches:
                events, letters = self._decide(batch.lines)
                if not events and letters and not self._summary.events and not begin.line:
                    raise Refused(
                        f"{self._path}: nothing of the first {len(batch.lines)} lines is an event, "
                        f"so nothing was written; {letters[0].rejection.detail}"
                    )
                if writing is not None:
                    writing.result()
                self._count(len(batch.lines), events, letters)
                if not self._dry_run:
                    writing = pool.submit(self._write, pool, events, letters, batch.place)
                bar.update(batch.disk_bytes - shown)
                shown = batch.disk_bytes
            if writing is not None:
                writing.result()

    def _decide(self, lines: list[tuple[int, bytes]]) -> tuple[list[Event], list[DeadLetter]]:
        events: list[Event] = []
        letters: list[DeadLetter] = []
        read = self._reader.read
        for number, line in lines:
            decided = read(number, line)
            if isinstance(decided, Event):
                events.append(decided)
            elif decided is not None:
                letters.append(decided)
        return events, letters

    def _count(self, lines: int, events: list[Event], letters: list[DeadLetter]) -> None:
        self._summary.lines += lines
        self._summary.count(events)
        self._summary.dead_letters.update(one.rejection.reason.value for one in letters)

    def _write(
        self,
        pool: ThreadPoolExecutor,
        events: list[Event],
        letters: list[DeadLetter],
        place: Place,
    ) -> None:
        refused = self._store(pool, events)
        if refused:
            self._summary.events -= len(refused)
            self._summary.dead_letters.update(one.rejection.reason.value for one in refused)
        if letters := [*letters, *refused]:
            # In no stream, so the table has all that is kept of them.
            self._insert(TABLE_DEAD_LETTERS, rows.encode_dead_letters(letters, [0] * len(letters)))
        self._write_checkpoint(place)

    def _store(self, pool: ThreadPoolExecutor, events: list[Event]) -> list[DeadLetter]:
        """Write both tables; returns what ClickHouse refuses, found by halving."""
        if not events:
            return []
        other = pool.submit(self._insert, TABLE_METRICS, rows.encode_metrics(events))
        try:
            try:
                self._insert(TABLE_EVENTS, rows.encode_events(events))
            finally:
                other.result()
        except ClickHouseError as error:
            if getattr(error, "code", None) not in REFUSED_ROW_CODES:
                raise
            if len(events) > 1:
                half = len(events) // 2
                return [*self._store(pool, events[:half]), *self._store(pool, events[half:])]
            (event,) = events
            why = Rejection(
                event.id, Reason.REFUSED_BY_WAREHOUSE, one_line(error), event.company_id
            )
            return [DeadLetter(why, event.payload)]
        return []

    def _insert(self, table: str, block: bytes) -> None:
        if block:
            self._ch.raw_insert(
                table, insert_block=block, fmt="JSONEachRow", settings=INSERT_SETTINGS
            )

    def _read_checkpoint(self) -> Place:
        found = self._ch.query(
            statement("clickhouse/select_checkpoint"), parameters={"name": self._checkpoint}
        ).result_rows
        return Place(**json.loads(found[0][0])) if found else Place()

    def _write_checkpoint(self, place: Place) -> None:
        self._ch.command(
            statement("clickhouse/insert_checkpoint"),
            parameters={"name": self._checkpoint, "position": json.dumps(asdict(place))},
        )
