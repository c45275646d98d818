"""The console page and the browser client, as they lie in gateway/client."""

from importlib import resources
from typing import Final

from gateway.router import Methods
from gateway.web.request import BaseRequest
from gateway.web.response import Response

FILES: Final = {
    "/": ("console.html", "text/html"),
    "/client.js": ("client.js", "text/javascript"),
    "/requests.js": ("requests.js", "text/javascript"),
    "/console.js": ("console.js", "text/javascript"),
    "/console.css": ("console.css", "text/css"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
}
# The page loads nothing from elsewhere, and no other page may frame it.
HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}


class Page:
    """One file, read once."""

    def __init__(self, name: str, content_type: str) -> None:
        self._body = resources.files("gateway.client").joinpath(name).read_bytes()
        self._content_type = content_type

    async def __call__(self, request: BaseRequest) -> Response:
        """Answer with the file."""
        return Response(
            body=self._body, headers=HEADERS, content_type=self._content_type, charset="utf-8"
        )


def page_routes() -> dict[str, Methods]:
    """Return the routes of all pages; raises FileNotFoundError where the installation is broken."""
    pages = {path: Page(*file) for path, file in FILES.items()}
    return {path: {"GET": page, "HEAD": page} for path, page in pages.items()}
