"""Runs one request on its worker thread: which part is the statement, which the data, which way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace

from embedded.clickhouse.body import chain, collect, read_statement
from embedded.clickhouse.channel import Channel, ClientGoneError
from embedded.clickhouse.encodings import Decoder
from embedded.clickhouse.engine import Engine
from embedded.clickhouse.errors import (
    BAD_ARGUMENTS,
    INTO_OUTFILE_NOT_ALLOWED,
    NOT_IMPLEMENTED,
    SYNTAX_ERROR,
    ServerError,
    refuse,
)
from embedded.clickhouse.reply import Reply
from embedded.clickhouse.request import Request, bad_request, parse_form
from embedded.clickhouse.running import Running, Ticket
from embedded.clickhouse.session import Session
from embedded.clickhouse.statement import (
    InsertHead,
    creates_temporary,
    first_word,
    output_format,
    quote_string,
    reads_input,
    returns_table,
    touches_files,
)

# Formats with a header or footer are made in memory as a whole. The engine does not count that
# memory, so the size of the result (its columns, before formatting) is limited instead.
WHOLE_RESULT_BYTES = 128 << 20
_NO_STREAM = "Streaming query is not supported for query"


class Execution:
    """Runs requests against one engine."""

    def __init__(self, engine: Engine, running: Running) -> None:
        self._engine = engine
        self._running = running

    def run(self, request: Request, ticket: Ticket, channel: Channel, reply: Reply) -> None:
        """Read the request's body, run it, fill the reply.

        Raises ServerError for whatever goes wrong, ClientGoneError when nobody is left to answer.
        """
        decoder = Decoder(request.body_encoding) if request.body_encoding else None
        body = channel.read(decoder)
        if request.form_boundary is not None:
            text, params = parse_form(collect(b"", body), request.form_boundary)
            request = replace(
                request, text=request.text or text, params={**request.params, **params}
            )
            body = iter(())
        statement = read_statement(request.text, body)
        if ticket.cancelled:
            raise ClientGoneError
        reply.timezone = request.settings.get("session_timezone", reply.timezone)
        if isinstance(statement, InsertHead):
            self._insert(statement, body, request, ticket, reply)
        else:
            self._query(statement, request, ticket, reply)

    def _insert(
        self,
        head: InsertHead,
        body: Iterator[bytes],
        request: Request,
        ticket: Ticket,
        reply: Reply,
    ) -> None:
        with self._engine.session(
            request.settings, database=request.database, mark=ticket.mark
        ) as session:
            reply.totals = session.totals
            session.insert(
                (_text(head.into), _text(head.settings), head.input_format),
                chain(head.data, body),
                request.params,
            )
        reply.finish()

    def _query(self, statement: bytes, request: Request, ticket: Ticket, reply: Reply) -> None:
        text = _text(statement)
        word = first_word(statement)
        if not word and not statement.strip():
            raise refuse(SYNTAX_ERROR, "SYNTAX_ERROR", "Syntax error: Empty query")
        _refuse_unsupported(statement, word, in_session=request.in_session)
        params: Mapping[str, str] = request.params
        if word == "KILL":
            text, params = self._with_engine_ids(text, params)
        name, streamed = output_format(statement, request.default_format)
        reply.format = name if returns_table(statement) else None
        reply.hold = request.hold
        settings = request.settings
        if not streamed:
            settings = {"max_result_bytes": str(WHOLE_RESULT_BYTES), **settings}
        with self._engine.session(settings, database=request.database, mark=ticket.mark) as session:
            reply.totals = session.totals
            if not (streamed and self._stream(session, text, request, params, ticket, reply)):
                self._whole(session, text, request, params, reply)
        reply.finish()

    @staticmethod
    def _stream(
        session: Session,
        text: str,
        request: Request,
        params: Mapping[str, str],
        ticket: Ticket,
        reply: Reply,
    ) -> bool:
        """False, with nothing done, for a statement that the engine can't stream."""
        with closing(session.stream(text, request.default_format, params)) as blocks:
            try:
                for block in blocks:
                    if ticket.cancelled:
                        raise ClientGoneError
                    reply.write(block)
            except ServerError as error:
                if error.code == BAD_ARGUMENTS and _NO_STREAM in str(error):
                    return False
                raise
        return True

    @staticmethod
    def _whole(
        session: Session, text: str, request: Request, params: Mapping[str, str], reply: Reply
    ) -> None:
        # The engine would run several statements one after another; the real server refuses them.
        if session.count_statements(text) > 1:
            raise refuse(
                SYNTAX_ERROR, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)"
            )
        result = session.run(text, request.default_format, params)
        if result:
            reply.format = reply.format or request.default_format
            reply.write(result)

    def _with_engine_ids(
        self, text: str, params: Mapping[str, str]
    ) -> tuple[str, Mapping[str, str]]:
        """A KILL QUERY that names a client's query id, with the id that the engine gave it."""
        for other in self._running.all():
            quoted = quote_string(other.query_id)
            if quoted not in text and other.query_id not in params.values():
                continue
            for engine_id in self._engine.query_ids(other.mark):
                text = text.replace(quoted, quote_string(engine_id))
                params = {
                    name: engine_id if value == other.query_id else value
                    for name, value in params.items()
                }
        return text, params


def _text(statement: bytes) -> str:
    try:
        return statement.decode()
    except UnicodeDecodeError as error:
        raise bad_request(f"The query is not UTF-8: byte {error.start} of it.") from None


def _refuse_unsupported(statement: bytes, word: str, *, in_session: bool) -> None:
    if touches_files(statement):
        raise refuse(
            INTO_OUTFILE_NOT_ALLOWED,
            "INTO_OUTFILE_NOT_ALLOWED",
            "INTO OUTFILE and FROM INFILE are not allowed over HTTP",
        )
    # The engine would take no data and say nothing.
    if reads_input(statement):
        raise refuse(
            NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED",
            "INSERT … SELECT … FROM input() is not supported by the embedded ClickHouse.",
        )
    # Each request has a connection of its own: what these change would be gone with the answer.
    if creates_temporary(statement) or (in_session and word in {"SET", "USE"}):
        raise refuse(
            NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED",
            "The embedded ClickHouse keeps no state between requests: give settings and the "
            "database with each request, and use ordinary tables.",
        )
