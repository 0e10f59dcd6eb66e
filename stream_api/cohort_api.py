"""The parts behind the cohort API, put together: one object that its routes ask."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from config.settings import Settings, SettingsError
from stream_api.answers import Answers
from stream_api.budget import Budget, LocalBudget
from stream_api.cohort_store import CohortStore
from stream_api.cohorts import CohortFigures
from stream_api.data_version import DataVersions
from stream_api.directory import Directory
from stream_api.platform import Platform
from stream_api.query_cache import LocalCache, QueryCache
from stream_api.telemetry import QueryMetrics
from stream_api.warehouse import Warehouse

if TYPE_CHECKING:
    from stream_api.shared_cache import SharedStore

# Its own, so that readers never keep the sink from committing; more would only queue in the server.
READ_CONNECTIONS = 8


class CohortApi:
    """Open at once; `close` ends its connections."""

    def __init__(
        self,
        settings: Settings,
        platform: Platform,
        registry: CollectorRegistry,
        as_of: Callable[[], str],
    ) -> None:
        self._warehouse = Warehouse(settings, connections=READ_CONNECTIONS)
        self._as_of = as_of
        self.directory = Directory(platform)
        self.store = CohortStore(platform)
        self.figures = CohortFigures(self._warehouse)
        cache: QueryCache = LocalCache()
        budget: Budget = LocalBudget(settings.cohort_queries_per_minute)
        self.shared: SharedStore | None = None
        if settings.redis_url is not None:
            self.shared = cache = budget = _shared_store(settings, settings.redis_url)
        self.answers = Answers(DataVersions(self._warehouse), cache, budget, QueryMetrics(registry))

    def as_of(self) -> datetime:
        """Up to when the warehouse has every event; ask before a query, which has that and more."""
        return datetime.fromisoformat(self._as_of())

    async def close(self) -> None:
        """Close the connections."""
        if self.shared is not None:
            await self.shared.close()
        await self._warehouse.close()


def _shared_store(settings: Settings, url: SecretStr) -> SharedStore:
    try:
        from stream_api.shared_cache import SharedStore
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"REDIS_URL is set, but the package {error.name} is missing; install the extra 'redis'"
        ) from None
    return SharedStore(url.get_secret_value(), settings.cohort_queries_per_minute)
