"""Tokens for sidecars that want them."""

from __future__ import annotations

import time
from typing import Any

import jwt

SECRET = "a-secret-of-at-least-thirty-two-bytes"


def bearer(company: str | None, /, **claims: Any) -> dict[str, str]:
    """Headers with a valid token of the company."""
    payload = {"companyId": company, "exp": time.time() + 600, **claims}
    kept = {name: value for name, value in payload.items() if value is not None}
    return {"Authorization": f"Bearer {jwt.encode(kept, SECRET, 'HS256')}"}
