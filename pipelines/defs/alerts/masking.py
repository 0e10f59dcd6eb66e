"""No secret leaves in a message: drivers quote addresses, and addresses hold passwords."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from config import Settings

MASK = "***"
MAX_CHARACTERS = 600
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]*@")
_PASSWORD_WORD = re.compile(
    r"(?i)\b(password|passwd|pwd|token|secret|sslpassword)(\s*[=:]\s*)(\S+)"
)
# Shorter ones would mask ordinary words; a password that short is no secret.
SHORTEST_SECRET = 4


def mask(text: str, settings: Settings) -> str:
    """One line of at most MAX_CHARACTERS without any secret of the settings and of any URL."""
    for secret in sorted(_secrets(settings), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _CREDENTIALS.sub(f"{MASK}@", text)
    text = _PASSWORD_WORD.sub(rf"\1\2{MASK}", text)
    text = " ".join(text.split())
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def _secrets(settings: Settings) -> set[str]:
    found: set[str] = set()
    for value in settings.__dict__.values():
        if not isinstance(value, SecretStr):
            continue
        secret = value.get_secret_value()
        if "://" not in secret:
            found.add(secret)
            continue
        for url in secret.split(","):
            parts = urlsplit(url)
            found |= {parts.password or "", unquote(parts.password or "")}
            # A token may stand in the query too.
            found.add(parts.query)
    hook = settings.alert_webhook_url
    if hook is not None:
        # Its path is the password of most receivers.
        found |= {hook.get_secret_value(), urlsplit(hook.get_secret_value()).path}
    return {secret for secret in found if len(secret) >= SHORTEST_SECRET}
