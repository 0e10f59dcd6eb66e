"""Who is told: a webhook by HTTP, or the log where none is set."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from config import Settings

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0
# A tick has 60 s: three attempts of 5 s and their pauses are over after 19 s. The next tick, 30 s
# later, begins anew with everything that is still untold.
PAUSES_SECONDS = (1.0, 3.0)
SHOWN_ANSWER = 200


class NotDeliveredError(RuntimeError):
    """The receiver has not taken the message; `str()` says why, without the address's secrets."""


class Receiver(Protocol):
    """Takes a message, or raises NotDeliveredError."""

    name: str

    def send(self, body: Mapping[str, Any]) -> str:
        """Deliver; returns what the receiver answered, for a person."""


class Webhook:
    """POST of JSON. Only an answer of 2xx counts as delivered; redirects are not followed."""

    name = "webhook"

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._url = url
        self._sleep = sleep
        # Path and query are the password of most receivers, so only the host is ever shown.
        self.shown = urlsplit(url).hostname or "the webhook"

    def send(self, body: Mapping[str, Any]) -> str:
        """Deliver, with a pause before each further attempt.

        Raises:
            NotDeliveredError: no attempt was answered by 2xx, or the request itself is refused.
        """
        for pause in (*PAUSES_SECONDS, None):
            answer, final = self._attempt(body)
            if answer is None:
                return final
            if answer == "refused" or pause is None:
                break
            self._sleep(pause)
        raise NotDeliveredError(final)

    def _attempt(self, body: Mapping[str, Any]) -> tuple[str | None, str]:
        try:
            response = httpx.post(self._url, json=body, timeout=TIMEOUT_SECONDS)
        except httpx.TimeoutException:
            return "away", f"{self.shown} did not answer within {TIMEOUT_SECONDS:.0f} s"
        except httpx.TransportError as error:
            return "away", f"{self.shown} can't be reached: {error or type(error).__name__}"
        words = f"{self.shown} answered {response.status_code} {response.text[:SHOWN_ANSWER]!r}"
        if response.is_success:
            return None, words
        # What is refused for its form is refused again; too many and server errors are not.
        transient = response.status_code >= 500 or response.status_code in {408, 425, 429}
        return ("away" if transient else "refused"), words


class Log:
    """The log of the process that evaluates, for an installation without a webhook."""

    name = "log"

    def send(self, body: Mapping[str, Any]) -> str:
        """Write the text as a warning."""
        logger.warning("%s", body["text"])
        return "written to the log; ALERT_WEBHOOK_URL is not set"


def receiver_of(settings: Settings) -> Receiver:
    """The webhook, or the log."""
    if settings.alert_webhook_url is None:
        return Log()
    return Webhook(settings.alert_webhook_url.get_secret_value())
