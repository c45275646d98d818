"""Programs written for aiohttp's low-level server are typed as well with the import changed.

mypy runs once for all of them, as strictly as it can, as in a project that has installed both.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.web.programs_twice import PROGRAMS, VARIANTS, write_programs

CACHE = Path(__file__).parents[3] / ".mypy_cache" / "programs"


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return what mypy complains of."""
    folder = tmp_path_factory.mktemp("programs")
    write_programs(folder)
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", CACHE, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode in (0, 1), result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("path", PROGRAMS, ids=[path.stem for path in PROGRAMS])
def test_a_program_is_typed(complaints: list[str], path: Path, variant: str) -> None:
    assert [line for line in complaints if line.startswith(f"{variant}_{path.name}:")] == []


def test_nothing_else_is_complained_of(complaints: list[str]) -> None:
    names = tuple(f"{variant}_{path.name}:" for path in PROGRAMS for variant in VARIANTS)
    others = [line for line in complaints if not line.startswith(names)]
    assert [line for line in others if not line.startswith(("Success", "Found"))] == []


def test_what_is_wrong_is_complained_of(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "from gateway import web\n"
        "async def handler(request: web.BaseRequest) -> web.Response:\n"
        "    return request.method\n"
        "async def main() -> None:\n"
        "    web.Server(handler, keepalive_timout=5.0)\n",
        encoding="utf-8",
    )
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", CACHE, "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = result.stdout.splitlines()
    assert [line.split(":")[1] for line in lines if " error: " in line] == ["3", "5"]
