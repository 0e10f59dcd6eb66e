"""`python -m stream_api`: one sidecar, alone or under any supervisor."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import sys

from config import SettingsError, load_settings
from config.logging import configure_logging
from stream_api.app import create_app
from stream_api.sidecar import Sidecar
from stream_api.transport import DrainingServer, server_config

logger = logging.getLogger(__name__)

# Clients of a restarted instance return at once; the kernel holds them until we accept.
LISTEN_BACKLOG = 4096


def main() -> int:
    """Run until SIGTERM or SIGINT; 2 when the settings or the address can't be used."""
    configure_logging("analytics")
    try:
        settings = load_settings(os.environ)
        sidecar = Sidecar(settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        listener = socket.create_server(
            (settings.host_analytics, settings.port_analytics), backlog=LISTEN_BACKLOG
        )
    except OSError as error:
        sys.stderr.write(
            f"PORT_ANALYTICS: {settings.host_analytics}:{settings.port_analytics} can't be "
            f"listened on ({error.strerror}); set another PORT_ANALYTICS or HOST_ANALYTICS\n"
        )
        return 2
    app = create_app(sidecar)
    # What exists by now stays: looking through it once more stopped every stream for 0.1 s.
    gc.freeze()
    config = server_config(app, settings.host_analytics, settings.port_analytics)

    def announce(address: str) -> None:
        port = address.rpartition(":")[2]
        logger.info("Analytics Service running on port %s", port)
        logger.info("listening on %s", address)

    # uvicorn raises the signal again once it has stopped in good order.
    with contextlib.suppress(KeyboardInterrupt):
        DrainingServer(config, sidecar.hub.drain, announce).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
