"""Answers every request with the text OK: the least that a response on gateway.web can be."""

from gateway import web
from loadtest.servers.listening import serve


async def answer(request: web.BaseRequest) -> web.Response:
    """Return the response."""
    return web.Response(text="OK")


if __name__ == "__main__":
    serve(answer)
