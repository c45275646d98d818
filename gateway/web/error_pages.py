"""What a peer is shown where the handler failed."""

import html
import traceback
from http import HTTPStatus
from typing import Final

from gateway.web.response import Response

_STATUS: Final = HTTPStatus.INTERNAL_SERVER_ERROR
_TITLE: Final = f"{_STATUS.value} {_STATUS.phrase}"


def failure_page(error: BaseException, *, accept: str, debug: bool) -> Response:
    """Return the 500 for error, as HTML where accept has that; with debug it shows the traceback.

    It closes the connection: nobody knows how much of the request a failed handler has read.
    """
    trace = _format(error) if debug else None
    if "text/html" in accept:
        detail = _STATUS.description
        if trace is not None:
            detail = f"<h2>Traceback:</h2>\n<pre>{html.escape(trace)}</pre>"
        text = (
            f"<html><head><title>{_TITLE}</title></head><body>\n"
            f"<h1>{_TITLE}</h1>\n{detail}\n</body></html>\n"
        )
        response = Response(status=_STATUS, text=text, content_type="text/html")
    else:
        response = Response(status=_STATUS, text=f"{_TITLE}\n\n{trace or _STATUS.description}")
    response.force_close()
    return response


def _format(error: BaseException) -> str:
    """Return the traceback as text that every charset of Unicode has: peers send surrogates."""
    trace = "".join(traceback.format_exception(error))
    return trace.encode("utf-8", "backslashreplace").decode()
