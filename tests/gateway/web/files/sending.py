"""What the tests of files ask, and a handler that answers it."""

from gateway.web.files.response import FileResponse
from gateway.web.response import Response

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def sending(path, **options):
    """Return a handler that sends what is at path."""

    async def handler(request):
        if request.path == "/last":
            return Response(text="last")
        return FileResponse(path, **options)

    return handler
