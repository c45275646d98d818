"""An API: routes in a table, JSON in and out, forms with files, and the errors that go with it."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from gateway import web
from gateway.web import BodyPartReader, MultipartReader

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

ITEMS: dict[int, dict[str, Any]] = {1: {"name": "first"}}
compact = partial(json.dumps, separators=(",", ":"))


async def index(request: web.BaseRequest) -> web.Response:
    limit = int(request.query.get("limit", "10"))
    items = [{"id": number, **item} for number, item in ITEMS.items()]
    return web.json_response(items[:limit], dumps=compact, headers={"X-Count": str(len(items))})


async def create(request: web.BaseRequest) -> web.Response:
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="JSON is wanted")
    try:
        item: dict[str, Any] = await request.json()
    except json.JSONDecodeError as error:
        raise web.HTTPBadRequest(text=f"no JSON: {error.msg}") from error
    number = max(ITEMS) + 1
    ITEMS[number] = item
    location = request.url.join(request.rel_url.with_path(f"/items/{number}"))
    return web.json_response({"id": number}, status=201, headers={"Location": location.path})


async def form(request: web.BaseRequest) -> web.Response:
    data = await request.post()
    answer: dict[str, object] = {}
    for name, value in data.items():
        if isinstance(value, web.FileField):
            answer[name] = [value.filename, value.content_type, value.file.read().decode()]
        else:
            answer[name] = str(value)
    return web.json_response(answer)


async def upload(request: web.BaseRequest) -> web.Response:
    reader: MultipartReader = await request.multipart()
    sizes: dict[str, int] = {}
    while True:
        part = await reader.next()
        if part is None:
            break
        assert isinstance(part, BodyPartReader)
        size = 0
        while chunk := await part.read_chunk(4096):
            size += len(chunk)
        sizes[part.name or part.filename or "?"] = size
    return web.json_response(sizes)


async def about(request: web.BaseRequest) -> web.Response:
    body = await request.text() if request.can_read_body else ""
    return web.json_response(
        {
            "method": request.method,
            "path": [request.path, request.raw_path, request.path_qs, request.query_string],
            "version": [request.version.major, request.version.minor],
            "host": request.host,
            "secure": request.secure,
            "keep_alive": request.keep_alive,
            "length": request.content_length,
            "charset": request.charset,
            "query": list(request.query.items()),
            "cookies": dict(request.cookies),
            "agent": request.headers.get("User-Agent", "none"),
            "body": body,
            "forwarded": [dict(element) for element in request.forwarded],
        }
    )


ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "/items"): index,
    ("POST", "/items"): create,
    ("POST", "/form"): form,
    ("POST", "/upload"): upload,
    ("GET", "/about"): about,
    ("PUT", "/about"): about,
}


async def handler(request: web.BaseRequest) -> web.StreamResponse:
    route = ROUTES.get((request.method, request.path))
    if route is None:
        allowed = [method for method, path in ROUTES if path == request.path]
        if allowed:
            raise web.HTTPMethodNotAllowed(request.method, allowed)
        raise web.HTTPNotFound
    request["route"] = route
    return await route(request)


def make_server() -> web.Server:
    return web.Server(handler, access_log=None)
