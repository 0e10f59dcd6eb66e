"""Every setting of the system: one frozen, typed object, built once at the edge.

Source: the process environment, then a file `.env` beside it (the environment wins). An empty
value counts as unset. Names of variables are the field names in upper case.

One page, because a setting is looked for by its name; most of it is what each is for.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import parse_qs, urlsplit

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from config.names import EVENT_SUBJECTS
from config.subjects import check_event_subject

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[int, Field(ge=1)]

# Values of these may carry passwords, so an error names the variable and never its value.
SECRET_VARIABLES = frozenset(
    {
        "CLICKHOUSE_PASSWORD",
        "JWT_SECRET",
        "NATS_URL",
        "DATABASE_URL",
        "REDIS_URL",
        "ALERT_WEBHOOK_URL",
    }
)


URL_SCHEMES = {
    "nats_url": ("nats", "tls"),
    "database_url": ("postgresql", "postgres"),
    "redis_url": ("redis", "rediss"),
    "alert_webhook_url": ("https", "http"),
}


class SettingsError(ValueError):
    """One or more settings can't be used; `str()` is one line for each, naming the variable."""


class Settings(BaseModel):
    """All settings, validated. Durations carry their unit in the name; sizes are bytes."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,  # `make reference` prints them
    )

    # The sidecar
    port_analytics: Port = 3007
    """Port of the sidecar."""
    host_analytics: str = "127.0.0.1"
    """Address that the sidecar listens on. One that is not loopback needs authentication."""
    streaming_enabled: bool = True
    """The streaming half; when it is off, its endpoints answer 501."""
    clickhouse_enabled: bool = True
    """The warehouse half: sink, cohorts, dead letters; when it is off, they answer 501."""
    allowed_origins: str = ""
    """Origins of other pages that may read answers: exact, joined by commas; `*` is refused."""
    allow_anonymous: bool = False
    """Run without authentication on an address that is not loopback: development only."""

    # Services
    nats_url: SecretStr = SecretStr("nats://localhost:4222")
    """NATS, with user and password where it wants them; several joined by commas."""
    database_url: SecretStr = SecretStr("postgresql://teei@localhost:5432/teei_platform")
    """Postgres, the platform's database."""
    clickhouse_host: str = "localhost"
    """ClickHouse, its HTTP interface."""
    clickhouse_port: Port = 8123
    """Port of it; under `make up` also of the embedded server."""
    clickhouse_user: str = "teei"
    """User of ClickHouse."""
    clickhouse_password: SecretStr = SecretStr("")
    """Password of that user."""
    clickhouse_database: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = (
        "teei_analytics"
    )
    """Database of the tables."""
    clickhouse_secure: bool = False
    """Speak HTTPS with ClickHouse."""
    clickhouse_batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Events of a batch; a backlog uses larger ones. Stored at this or the next, what is first."""
    clickhouse_batch_timeout_ms: Annotated[int, Field(ge=1, le=600_000)] = 10_000
    """Milliseconds that a batch waits to be full."""
    redis_url: SecretStr | None = None
    """Query cache and rate limits that all instances share; unset: each process has its own."""
    cohort_queries_per_minute: Positive = 3000
    """Cohort figures that a company may have computed; then 429. Cached answers are free."""

    # Authentication
    jwt_secret: SecretStr | None = None
    """Secret of tokens signed by HS256."""
    jwt_jwks_url: str | None = None
    """Address of the key set of tokens signed by RS, ES or PS keys."""
    jwt_issuer: str | None = None
    """What `iss` of a token must be; unset: anything."""
    jwt_audience: str | None = None
    """What `aud` of a token must be; unset: anything."""

    # Streaming
    event_subjects: str = ",".join(EVENT_SUBJECTS)
    """Subjects that the stream of events takes, joined by commas; it is widened, never narrowed."""
    stream_heartbeat_s: Annotated[float, Field(gt=0, le=3600)] = 30
    """Seconds between two heartbeats of a stream."""
    stream_buffer_bytes: Annotated[int, Field(ge=4096)] = 262_144
    """A reader with more unsent bytes is closed; it resumes by its last id."""
    stream_stall_s: Annotated[float, Field(gt=0)] = 60
    """A reader that took nothing for so many seconds is closed."""
    stream_pace_ms: Annotated[int, Field(ge=0, le=1000)] = 16
    """Milliseconds of events that go in one write, above about 60 a second; 0: none."""
    stream_max_lifetime_s: Annotated[float, Field(ge=0)] = 0
    """Seconds after which a stream is ended; 0: never."""
    stream_max_connections: Positive = 20_000
    """Open streams of one instance; then 429."""
    stream_max_connections_per_company: Positive = 5000
    """Open streams of one company in one instance; then 429."""

    # Retention
    retention_events_days: Positive = 90
    """Days that events are kept in the warehouse."""
    retention_aggregates_days: Positive = 730
    """Days that metric rows are kept."""
    retention_dead_letters_days: Positive = 30
    """Days that dead letters are kept, in the stream and in the table."""
    retention_query_log_days: Positive = 30
    """Days of ClickHouse's own logs."""
    retention_replay_hours: Positive = 24
    """Hours that NATS keeps events: how long the warehouse may be away."""

    # Backups and alerts
    backup_target: str = "backups"
    """A disk of the ClickHouse server, or `s3://BUCKET/PREFIX[?endpoint=https://HOST&region=NAME]`."""
    backup_keep_days: Positive = 30
    """Days that backups are kept; a chain that is needed stays longer."""
    alert_webhook_url: SecretStr | None = None
    """Receiver of alerts, one JSON POST each; unset: the log only."""

    # The embedded backend of `make up`
    analytics_data: Path = Path(".data")
    """Folder of the data of `make up`."""
    demo: bool = True
    """Demo companies, their history and a producer of events."""
    postgres_port: Port = 5432
    """Port of the embedded Postgres."""
    nats_port: Port = 4222
    """Port of the embedded NATS."""
    dagster_port: Port = 3000
    """Port of Dagster's UI."""

    @field_validator(*URL_SCHEMES)
    @classmethod
    def _url_has_scheme(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        schemes = URL_SCHEMES[str(info.field_name)]
        for part in value.get_secret_value().split(",") if value else ():
            parts = urlsplit(part)
            if parts.scheme not in schemes or not parts.netloc:
                raise ValueError(f"not a URL that begins with {' or '.join(schemes)}://HOST")
        return value

    @field_validator("backup_target")
    @classmethod
    def _target_is_a_disk_or_a_bucket(cls, value: str) -> str:
        if not value.startswith("s3://"):
            if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", value):
                return value
            raise ValueError("neither a disk of the ClickHouse server nor s3://BUCKET/PREFIX")
        parts = urlsplit(value)
        if "@" in parts.netloc:
            raise ValueError("credentials stand in AWS_ACCESS_KEY_ID and _SECRET_ACCESS_KEY")
        options = parse_qs(parts.query, keep_blank_values=True)
        endpoint = options.get("endpoint", ["https://aws"])[-1]
        if not parts.netloc or parts.fragment or not options.keys() <= {"endpoint", "region"}:
            raise ValueError(
                "write s3://BUCKET/PREFIX, then ?endpoint=https://HOST or ?region=NAME"
            )
        if urlsplit(endpoint).scheme not in {"http", "https"} or "@" in endpoint:
            raise ValueError("endpoint is not http(s)://HOST[:PORT]")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _origins_are_exact(cls, value: str) -> str:
        for origin in _parts(value):
            if origin == "*":
                raise ValueError(
                    "'*' cannot be combined with credentials; list each origin, "
                    "e.g. https://dashboard.example.com"
                )
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path:
                raise ValueError(
                    f"'{origin}' is not an origin; write scheme://host[:port] without a path"
                )
        return value

    @field_validator("event_subjects")
    @classmethod
    def _subjects_have_events(cls, value: str) -> str:
        if not _parts(value):
            raise ValueError("name one subject at least, e.g. metrics.>")
        for subject in _parts(value):
            check_event_subject(subject)
        return value

    @model_validator(mode="after")
    def _anonymous_only_on_loopback(self) -> Self:
        if self.auth_enabled or self.allow_anonymous or _is_loopback(self.host_analytics):
            return self
        raise ValueError(
            f"HOST_ANALYTICS: {self.host_analytics} is not loopback and no authentication is "
            "configured; set JWT_SECRET or JWT_JWKS_URL, or ALLOW_ANONYMOUS=1 for development"
        )

    @property
    def auth_enabled(self) -> bool:
        """True when requests must carry a token."""
        return self.jwt_secret is not None or self.jwt_jwks_url is not None

    @property
    def origins(self) -> tuple[str, ...]:
        """Exact origins that may read answers across origins; empty means same origin only."""
        return _parts(self.allowed_origins)

    @property
    def subjects(self) -> tuple[str, ...]:
        """What the stream of events takes, e.g. `metrics.>`."""
        return _parts(self.event_subjects)


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def variable_names() -> tuple[str, ...]:
    """Names of all environment variables that are read, in the order of the fields."""
    return tuple(name.upper() for name in Settings.model_fields)


def read_variables(environ: Mapping[str, str], env_file: Path | None = None) -> dict[str, str]:
    """The variables of ours that are set: `environ` over `env_file`, empty values left out."""
    merged: dict[str, str | None] = {}
    if env_file is not None and env_file.is_file():
        merged.update(dotenv_values(env_file, interpolate=False))
    merged.update(environ)
    return {name: value for name in variable_names() if (value := merged.get(name))}


def load_settings(environ: Mapping[str, str], env_file: Path | None = Path(".env")) -> Settings:
    """Build the settings.

    Raises:
        SettingsError: naming each variable that can't be used, one line each.
    """
    values = read_variables(environ, env_file)
    try:
        return Settings.model_validate({name.lower(): value for name, value in values.items()})
    except ValidationError as error:
        raise SettingsError("\n".join(_one_line(item, values) for item in error.errors())) from None


def _one_line(item: ErrorDetails, values: Mapping[str, str]) -> str:
    message = item["msg"].removeprefix("Value error, ")
    if not item["loc"]:
        return message
    name = str(item["loc"][0]).upper()
    # BACKUP_TARGET is to hold no key; a mistaken s3://KEY:SECRET@… is not repeated all the same.
    shown = (
        "" if name in SECRET_VARIABLES | {"BACKUP_TARGET"} else f" (got {values.get(name, '')!r})"
    )
    return f"{name}: {message}{shown}"
