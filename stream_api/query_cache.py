"""Answers that were computed already, by what was asked and of which version of the data.

In process, or in Redis when several instances shall share one (`shared_cache.py`). Every key begins
with the company, so that no company can be given another's answer.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

# A metrics page is 20 kB, a comparison of 50 cohorts 250 kB.
MAX_COMPANY_BYTES = 4 * 1024 * 1024
MAX_BYTES = 64 * 1024 * 1024
# Python's own cost of an entry, so that many small ones are not taken for free.
ENTRY_BYTES = 500


class Question(NamedTuple):
    """What was asked: the company, the route, its parameters as canonical text."""

    company_id: str
    route: str
    parameters: str

    @classmethod
    def of(cls, company_id: str, route: str, parameters: Mapping[str, Any]) -> Question:
        """Parameters in any order and with any spelling of dates give one question."""
        text = json.dumps(parameters, sort_keys=True, separators=(",", ":"), default=str)
        return cls(company_id, route, text)


class Answer(NamedTuple):
    """Bytes of a JSON answer and their entity tag, quoted as it stands in the header."""

    body: bytes
    etag: str


class QueryCache(Protocol):
    """Where answers are kept. A cache that is away has nothing, and is no error."""

    async def get(self, question: Question, version: str) -> Answer | None:
        """The answer for this version of the data, or None."""

    async def put(self, question: Question, version: str, answer: Answer) -> None:
        """Keep an answer; it replaces the one of an older version."""


class LocalCache:
    """In process. The least recently used go first: of the company at its bound, then of all."""

    def __init__(self, company_bytes: int = MAX_COMPANY_BYTES, all_bytes: int = MAX_BYTES) -> None:
        self._company_bytes = company_bytes
        self._all_bytes = all_bytes
        self._companies: OrderedDict[str, _CompanyAnswers] = OrderedDict()
        self.bytes = 0

    async def get(self, question: Question, version: str) -> Answer | None:
        company = self._companies.get(question.company_id)
        if company is None:
            return None
        self._companies.move_to_end(question.company_id)
        return company.get(question, version)

    async def put(self, question: Question, version: str, answer: Answer) -> None:
        company = self._companies.setdefault(question.company_id, _CompanyAnswers())
        self._companies.move_to_end(question.company_id)
        self.bytes -= company.bytes
        company.put(question, version, answer, self._company_bytes)
        self.bytes += company.bytes
        while self.bytes > self._all_bytes and len(self._companies) > 1:
            # The company that asked last is last: it loses what it has only by its own bound.
            _, gone = self._companies.popitem(last=False)
            self.bytes -= gone.bytes


class _CompanyAnswers:
    def __init__(self) -> None:
        self._answers: OrderedDict[Question, tuple[str, Answer]] = OrderedDict()
        self.bytes = 0

    def get(self, question: Question, version: str) -> Answer | None:
        kept = self._answers.get(question)
        if kept is None or kept[0] != version:
            return None
        self._answers.move_to_end(question)
        return kept[1]

    def put(self, question: Question, version: str, answer: Answer, limit: int) -> None:
        self._drop(question)
        self._answers[question] = (version, answer)
        self.bytes += _size(question, answer)
        while self.bytes > limit:
            self._drop(next(iter(self._answers)))

    def _drop(self, question: Question) -> None:
        kept = self._answers.pop(question, None)
        if kept is not None:
            self.bytes -= _size(question, kept[1])


def _size(question: Question, answer: Answer) -> int:
    return ENTRY_BYTES + len(question.parameters) + len(answer.body)
