"""Who the demo is about. The same names give the same ids, so that inserting twice adds nothing."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

USERS_A_COMPANY: Final = 60
NAMESPACE: Final = uuid.UUID("6f1d6a3e-6a0b-5d8e-9c39-2f4f0a6f7b11")

# Name → lowest value, highest value, where its users begin.
METRICS: Final[Mapping[str, tuple[float, float, float]]] = {
    "integration_score": (0.0, 1.0, 0.62),
    "social_capital_score": (0.0, 1.0, 0.48),
    "sroi_ratio": (0.5, 8.0, 3.1),
}
LANGUAGES: Final = {"uk": 9, "ar": 5, "de": 3, "en": 3}
PROGRAMS: Final = {"mentorship": 5, "buddy": 3, "language_connect": 2}
ROLES: Final = {"participant": 8, "volunteer": 2, "coordinator": 1}
STAGES: Final = {"onboarding": 2, "matched": 3, "active": 6, "completed": 2}
# What a language or a program adds to a user's start, so that cohorts differ visibly.
EFFECTS: Final = {"uk": 0.05, "ar": -0.03, "mentorship": 0.09, "buddy": 0.02}


@dataclass(frozen=True)
class Company:
    id: str
    name: str
    # Share of the live events.
    weight: int


@dataclass(frozen=True)
class User:
    id: uuid.UUID
    company_id: str
    email: str
    role: str
    language: str
    program: str
    stage: str

    def start_of(self, metric: str) -> float:
        """The user's own level of a metric, between its limits."""
        low, high, middle = METRICS[metric]
        effect = EFFECTS.get(self.language, 0.0) + EFFECTS.get(self.program, 0.0)
        own = random.Random(f"{self.id}{metric}").gauss(effect, 0.07)
        return min(high, max(low, middle + own * (high - low)))


@dataclass(frozen=True)
class Cohort:
    id: uuid.UUID
    company_id: str
    name: str
    description: str
    filters: Mapping[str, str]


COMPANIES: Final = (
    Company("acme-impact", "Acme Impact", 5),
    Company("globex-care", "Globex Care", 3),
    Company("initech-foundation", "Initech Foundation", 2),
)
COHORTS: Final = (
    ("Ukrainian Mentorship Program", {"language": "uk", "program": "mentorship"}),
    ("Buddy Program", {"program": "buddy"}),
    ("Arabic Speakers", {"language": "ar"}),
)


@cache
def users(company_id: str) -> tuple[User, ...]:
    """The company's users; the same ones at every call and start."""
    chance = random.Random(company_id)
    return tuple(
        User(
            id=uuid.uuid5(NAMESPACE, f"{company_id}/user/{number}"),
            company_id=company_id,
            email=f"user{number:02}@{company_id}.example",
            role=_pick(chance, ROLES),
            language=_pick(chance, LANGUAGES),
            program=_pick(chance, PROGRAMS),
            stage=_pick(chance, STAGES),
        )
        for number in range(1, USERS_A_COMPANY + 1)
    )


@cache
def cohorts(company_id: str) -> tuple[Cohort, ...]:
    """The company's cohorts; who belongs to them follows from the filters."""
    return tuple(
        Cohort(
            id=uuid.uuid5(NAMESPACE, f"{company_id}/cohort/{name}"),
            company_id=company_id,
            name=name,
            description=f"Demo cohort: {', '.join(f'{k} is {v}' for k, v in filters.items())}",
            filters=filters,
        )
        for name, filters in COHORTS
    )


def _pick(chance: random.Random, weights: Mapping[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]
