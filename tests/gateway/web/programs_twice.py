"""The programs of the folder of that name, for ours and, with other imports, for aiohttp."""

from pathlib import Path

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))
VARIANTS = ("ours", "theirs")

# All that a program changes to run on the other server, the more special line first.
IMPORTS = {
    "from gateway import web\n": "from aiohttp import web\n",
    "from gateway.web import AbstractAccessLogger, AccessLogger, StreamReader\n": (
        "from aiohttp import StreamReader\n"
        "from aiohttp.abc import AbstractAccessLogger\n"
        "from aiohttp.web_log import AccessLogger\n"
    ),
    "from gateway.web import ": "from aiohttp import ",
}


def write_programs(folder: Path) -> None:
    """Write every program to folder twice, as ours_name.py and theirs_name.py."""
    for path in PROGRAMS:
        text = path.read_text(encoding="utf-8")
        (folder / f"ours_{path.name}").write_text(text, encoding="utf-8")
        for ours, theirs in IMPORTS.items():
            text = text.replace(ours, theirs)
        assert "gateway" not in text
        (folder / f"theirs_{path.name}").write_text(text, encoding="utf-8")
