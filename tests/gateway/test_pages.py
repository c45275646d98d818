"""The pages over a real socket, and that what they load is there and allowed."""

from html.parser import HTMLParser
from importlib import resources

import pytest

from gateway import pages
from gateway.pages import page_routes
from gateway.router import Router

TYPES = {
    "/": "text/html; charset=utf-8",
    "/client.js": "text/javascript; charset=utf-8",
    "/requests.js": "text/javascript; charset=utf-8",
    "/console.js": "text/javascript; charset=utf-8",
    "/console.css": "text/css; charset=utf-8",
    "/favicon.svg": "image/svg+xml; charset=utf-8",
}
NAMES = {"/": "console.html"}


def read(path):
    """Return the file that path shows."""
    name = NAMES.get(path, path.removeprefix("/"))
    return resources.files("gateway.client").joinpath(name).read_bytes()


@pytest.fixture
def router():
    return Router(page_routes(), {}, {})


class Page(HTMLParser):
    """What a page loads, and what its Content-Security-Policy would block."""

    def __init__(self, text):
        super().__init__()
        self.loaded = []
        self.blocked = []
        self._is_in_script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.loaded += [values[name] for name in ("src", "data", "action") if name in values]
        if tag == "link":
            self.loaded.append(values["href"])
        self.blocked += [f"{tag} {name}" for name in values if name.startswith("on")]
        self.blocked += [f"{tag} style"] if "style" in values else []
        self.blocked += [tag] if tag in ("style", "base") else []
        self._is_in_script = tag == "script"

    def handle_data(self, data):
        if self._is_in_script and data.strip():
            self.blocked.append("script without src")

    def handle_endtag(self, tag):
        self._is_in_script = False


def test_there_is_a_page_for_each_of_these_paths():
    assert set(page_routes()) == set(TYPES)


@pytest.mark.parametrize(("path", "content_type"), TYPES.items())
async def test_a_page_is_the_file_with_its_type(router, fetch, path, content_type):
    reply = await fetch(router, f"GET {path}")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == content_type
    assert reply.body == read(path)
    assert reply.body


@pytest.mark.parametrize("path", TYPES)
async def test_head_gives_the_same_head_and_no_body(router, fetch, path):
    got, head = await fetch(router, f"GET {path}"), await fetch(router, f"HEAD {path}")
    got.headers.pop("Date")
    head.headers.pop("Date")
    assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")


@pytest.mark.parametrize("path", TYPES)
async def test_a_page_is_asked_for_anew_and_can_be_neither_framed_nor_mistaken(router, fetch, path):
    headers = (await fetch(router, f"GET {path}")).headers
    assert headers["Cache-Control"] == "no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = headers["Content-Security-Policy"].split("; ")
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy


async def test_a_page_cannot_be_changed(router, fetch):
    reply = await fetch(router, "POST /")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")


def test_everything_that_the_page_loads_is_served_beside_it():
    loaded = Page(read("/").decode()).loaded
    assert loaded
    assert {f"/{name}" for name in loaded} <= set(TYPES)


def test_nothing_on_the_page_is_blocked_by_its_own_policy():
    assert Page(read("/").decode()).blocked == []


@pytest.mark.parametrize("path", ["/console.js", "/client.js", "/requests.js"])
def test_scripts_import_only_what_is_served(path):
    lines = [line for line in read(path).decode().splitlines() if line.startswith(("import", "}"))]
    imported = [line.partition(" from ")[2].strip("\"';") for line in lines if " from " in line]
    assert {name.replace("./", "/") for name in imported} <= set(TYPES)


def test_a_missing_file_is_noticed_when_the_node_is_built(monkeypatch):
    monkeypatch.setitem(pages.FILES, "/lost", ("lost.html", "text/html"))
    with pytest.raises(FileNotFoundError):
        page_routes()
