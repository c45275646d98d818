"""Forms of those who send them in earnest: a browser and curl."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from playwright.async_api import Browser

from gateway.web.forms.form import SPOOL_BYTES, FileField, Form
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.server import Server
from tests.gateway.client.conftest import browser, chromium_path

__all__ = ["browser", "chromium_path"]

# One event loop for the server, Playwright and the tests, so that the browser is started once.
pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = """<!doctype html><meta charset="utf-8"><form method="post" {attributes}>
<input name="text" value="a b+&amp;č"><input name='quo"ted' value="">
<textarea name="lines">
</textarea>
<input type="checkbox" name="box" value="1" checked>
<input type="checkbox" name="box" value="2" checked>
<input type="file" name="files" multiple><input type="file" name="none">
<input type="hidden" name="_charset_">
<button>send</button></form>"""


class Site:
    """A server that shows a page with a form, and keeps the forms that it gets, files read."""

    url: str

    def __init__(self, attributes: str) -> None:
        self.page = PAGE.format(attributes=attributes)
        self.forms: asyncio.Queue[list[tuple[str, Any]]] = asyncio.Queue()

    async def handle(self, request: BaseRequest) -> Response:
        if request.method == "POST":
            self.forms.put_nowait(told(await request.post()))
        return Response(text=self.page, content_type="text/html")


def told(form: Form) -> list[tuple[str, Any]]:
    def tell(value: str | bytes | FileField) -> Any:
        if isinstance(value, FileField):
            return value.filename, value.content_type, value.file.read()
        return value

    return [(name, tell(value)) for name, value in form.items()]


@asynccontextmanager
async def serving(attributes: str = "") -> AsyncIterator[Site]:
    site = Site(attributes)
    server = Server(site.handle, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    site.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    with closing(listener):
        yield site
    await server.shutdown(1)


BIG = os.urandom(3 * SPOOL_BYTES)
FILES = {'žluť "quoted" \';%.txt': b"small\r\n--b\r\n", "big.bin": BIG, "empty.css": b""}


async def submit(browser: Browser, url: str, folder: Any) -> None:
    """Fill the form in and send it, with files whose names and data are those of FILES."""
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(url)
    await page.locator("textarea").fill("one\ntwo\n")
    await page.locator("[name=files]").set_input_files([folder / name for name in FILES])
    await page.locator("button").click()
    await page.wait_for_load_state()
    await context.close()


async def test_a_browser_sends_a_form_with_files(browser: Browser, tmp_path: Any) -> None:
    async with serving('enctype="multipart/form-data"') as site:
        await submit(browser, site.url, tmp_path)
        small, big, empty = FILES
        assert site.forms.get_nowait() == [
            *(("text", "a b+&č"), ('quo"ted', ""), ("lines", "one\r\ntwo\r\n")),
            *(("box", "1"), ("box", "2")),
            ("files", (small, "text/plain", FILES[small])),
            ("files", (big, "application/octet-stream", BIG)),
            ("files", (empty, "text/css", b"")),
            ("none", b""),
            ("_charset_", "UTF-8"),
        ]


async def test_a_browser_sends_an_urlencoded_form(browser: Browser, tmp_path: Any) -> None:
    async with serving() as site:
        await submit(browser, site.url, tmp_path)
        assert site.forms.get_nowait() == [
            *(("text", "a b+&č"), ('quo"ted', ""), ("lines", "one\r\ntwo\r\n")),
            *(("box", "1"), ("box", "2"), *(("files", name) for name in FILES), ("none", "")),
            ("_charset_", "UTF-8"),
        ]


async def test_a_browser_sends_a_form_in_an_old_charset(browser: Browser, tmp_path: Any) -> None:
    attributes = 'enctype="multipart/form-data" accept-charset="iso-8859-2"'
    async with serving(attributes) as site:
        # A _charset_ tells of its form only where it stands first. RFC 7578 section 4.6.
        hidden = '<input type="hidden" name="_charset_">'
        site.page = site.page.replace(hidden, "").replace("<input", hidden + "<input", 1)
        await submit(browser, site.url, tmp_path)
        form = dict(site.forms.get_nowait())
        assert form["text"] == "a b+&č"
        assert "_charset_" not in form


async def run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def test_curl_sends_a_form_with_files(curl: str, tmp_path: Any) -> None:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    big = "big.bin"
    async with serving() as site:
        # It waits for 100 Continue before it sends what is large.
        await run(
            *(curl, "-sS", "--fail", "-F", "text=a b&č", "-F", "json={};type=application/json"),
            *("-F", f"file=@{tmp_path}/{big};filename=ž.bin", "-F", "base=hello;encoder=base64"),
            *("-H", "Expect: 100-continue", "-F", f"value=<{tmp_path}/{big};type=a/b", site.url),
        )
        assert site.forms.get_nowait() == [
            ("text", "a b&č"),
            ("json", b"{}"),
            ("file", ("ž.bin", "application/octet-stream", BIG)),
            ("base", "hello"),
            ("value", BIG),
        ]


async def test_curl_sends_an_urlencoded_form(curl: str) -> None:
    async with serving() as site:
        await run(curl, "-sS", "--fail", "-d", "a=b c", "--data-urlencode", "č=&ž", site.url)
        assert site.forms.get_nowait() == [("a", "b c"), ("č", "&ž")]
