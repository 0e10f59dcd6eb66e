"""Which cohorts a company has, by one short query a second for a company that is asked about.

A change that somebody made in Postgres is seen a second later, one through this instance at once.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stream_api.errors import Refusal
from stream_api.platform import Platform, PlatformAwayError
from stream_api.recent import Recent

AGE_SECONDS = 1.0
# A company's cohorts are a few kB; past this many companies the longest unused is asked for again.
MAX_COMPANIES = 2000


class Cohorts(NamedTuple):
    """A company's cohorts: names by id, and a version that changes with any of them."""

    company_id: str
    names: Mapping[str, str]
    version: str

    def find(self, cohort_ids: Sequence[str]) -> dict[str, str]:
        """Names by id, in the order asked.

        Another company's cohort is looked for among this company's, like one that does not exist:
        neither the text nor the time of the answer tells them apart.

        Raises:
            Refusal: 404 naming the first id that the company has no cohort of.
        """
        found = {}
        for text in cohort_ids:
            key = canonical_id(text)
            if key not in self.names:
                raise unknown_cohort(self.company_id, text)
            found[key] = self.names[key]
        return found


class Directory:
    """Cohorts of companies, a second old at most."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._cohorts = Recent(self._load, AGE_SECONDS, MAX_COMPANIES)

    async def cohorts(self, company_id: str) -> Cohorts:
        """The company's cohorts.

        Raises:
            Refusal: 503 when Postgres does not answer.
        """
        return await self._cohorts.get(company_id)

    def forget(self, company_id: str) -> None:
        """The company's cohorts were changed here."""
        self._cohorts.forget(company_id)

    async def _load(self, company_id: str) -> Cohorts:
        try:
            rows = await self._platform.rows("select_cohort_names", {"company_id": company_id})
        except PlatformAwayError:
            raise Refusal(503, "Postgres does not answer; try again", 5) from None
        names = {str(row[0]): str(row[1]) for row in rows}
        version = hashlib.sha256(repr(sorted(names.items())).encode()).hexdigest()[:16]
        return Cohorts(company_id, names, version)


def unknown_cohort(company_id: str, cohort_id: str) -> Refusal:
    """The answer for a cohort that the company does not have."""
    return Refusal(404, f"company {company_id} has no cohort {cohort_id[:60]!r}")


def canonical_id(text: str) -> str:
    """A cohort's id as Postgres writes it; other text as it is, which no cohort has."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return text
