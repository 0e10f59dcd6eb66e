"""nginx with nchan: a generated configuration, one worker, everything in a temporary folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

# As ours: 2,000 messages are kept a channel, a ping every 30 s, no access log.
CONFIGURATION = """
load_module {module};
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 12000; }}
http {{
    access_log off;
    keepalive_requests 10000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    nchan_shared_memory_size 256M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /publish {{
            nchan_publisher;
            nchan_channel_id $arg_companyId;
            nchan_message_buffer_length 2000;
            nchan_message_timeout 10m;
        }}
        location = /stream/updates {{
            nchan_subscriber eventsource;
            nchan_channel_id $arg_companyId;
            nchan_subscriber_first_message newest;
            nchan_eventsource_ping_interval 30;
        }}
    }}
}}
"""


def installed() -> bool:
    """Whether nginx and its nchan module are on this machine."""
    return shutil.which("nginx") is not None and MODULE.exists()


def command(folder: Path, port: int) -> list[str]:
    """Write the configuration into `folder`; the command that serves it on `port`."""
    user = "user nobody nogroup;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(module=MODULE, user=user, folder=folder, port=port))
    return ["nginx", "-c", str(file), "-p", str(folder)]
