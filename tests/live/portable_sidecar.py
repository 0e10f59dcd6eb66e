"""The sidecar as any other ASGI server would run it: `python -m tests.live.portable_sidecar`.

uvicorn with h11 instead of our protocol, so that `sse-starlette` carries every stream.
"""

from __future__ import annotations

import sys

import uvicorn

from stream_api import __main__ as main_module
from stream_api.transport import server_config


def portable_config(app: object, host: str, port: int) -> uvicorn.Config:
    """The configuration of the sidecar, with another protocol."""
    config = server_config(app, host, port)
    config.http = "h11"
    return config


if __name__ == "__main__":
    main_module.server_config = portable_config  # type: ignore[attr-defined]
    sys.exit(main_module.main())
