"""nginx with the module nchan: its configuration, and the command that serves by it.

A POST to /publish/CHANNEL publishes, and /CHANNEL subscribes by WebSocket or EventSource. nchan
stores nothing, as a channel of ours without history does. One process does everything, so that its
figures are those of one pid.
"""

import shutil
from pathlib import Path
from typing import Final

# Where Debian's package libnginx-mod-nchan puts it.
MODULE: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_CONFIGURATION: Final = """\
load_module {module};
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr crit;
events {{
    worker_connections 65536;
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = / {{
            return 200 "ready";
        }}
        location ~ ^/publish/(.+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
            nchan_store_messages off;
        }}
        location ~ ^/(.+)$ {{
            nchan_subscriber websocket eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"""


def prepare(port: int, folder: Path) -> list[str]:
    """Write the configuration into folder; return the command that has nginx listen on port."""
    path = folder / "nginx.conf"
    path.write_text(_CONFIGURATION.format(module=MODULE, folder=folder, port=port))
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(path)]


def find_absence() -> str | None:
    """Return why it cannot be started here, None where it can."""
    if shutil.which("nginx") and MODULE.exists():
        return None
    return "nginx or its module nchan is missing: apt install nginx libnginx-mod-nchan (Debian)"
