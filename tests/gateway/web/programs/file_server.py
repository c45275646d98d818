"""Files of a folder, and a page of its own that is cached by conditions."""

import hashlib
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from gateway import web
from gateway.web import ETag

ROOT = Path(tempfile.gettempdir())


def locate(name: str) -> Path:
    path = Path(os.path.normpath(ROOT / name.lstrip("/")))
    if not path.is_relative_to(ROOT):
        raise web.HTTPForbidden(reason="Outside")
    return path


def list_names(path: Path) -> list[str] | None:
    return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else None


async def files(request: web.BaseRequest) -> web.StreamResponse:
    path = locate(request.path)
    names = list_names(path)
    if names is not None:
        return web.Response(text="\n".join(names), content_type="text/plain", charset="utf-8")
    response = web.FileResponse(path, chunk_size=2**16, headers={"Cache-Control": "max-age=60"})
    if request.query.get("download"):
        response.headers["Content-Disposition"] = f'attachment; filename="{path.name}"'
    return response


async def page(request: web.BaseRequest) -> web.StreamResponse:
    body = b"<h1>A page</h1>"
    tag = ETag(hashlib.sha256(body).hexdigest()[:16])
    changed = datetime(2024, 2, 29, 12, tzinfo=UTC)
    given = request.if_none_match
    is_current = given is not None and any(other.value == tag.value for other in given)
    if not is_current and given is None and request.if_modified_since is not None:
        is_current = changed <= request.if_modified_since
    response = web.Response(status=304) if is_current else web.Response(body=body)
    response.etag = tag
    response.last_modified = changed
    if not is_current:
        response.content_type = "text/html"
        visits = int(request.cookies.get("visits", "0")) + 1
        response.set_cookie("visits", str(visits), path="/page", secure=request.secure)
        if visits > 9:
            response.del_cookie("visits", path="/page")
    return response


async def part(request: web.BaseRequest) -> web.StreamResponse:
    data = bytes(range(100))
    try:
        wanted = request.http_range
    except ValueError:
        raise web.HTTPRequestRangeNotSatisfiable(
            headers={"Content-Range": f"bytes */{len(data)}"}
        ) from None
    return web.Response(body=data[wanted], status=206 if wanted.start is not None else 200)


async def handler(request: web.BaseRequest) -> web.StreamResponse:
    if request.path == "/page":
        return await page(request)
    if request.path == "/part":
        return await part(request)
    return await files(request)


def make_server() -> web.Server:
    return web.Server(handler, access_log=None)
