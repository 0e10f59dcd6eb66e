"""SSE: what a delivery, an idle connection, a reconnect storm and a slow reader cost."""
