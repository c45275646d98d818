"""Compiles the modules that every WebSocket frame passes, from their own source, where that works.

Hatch runs it for `pip install .` and `pip install -e .`. Without a C compiler, or where compiling
fails, the installation goes on with the plain modules and says so. GATEWAY_COMPILE=0 leaves them
plain, GATEWAY_COMPILE=1 makes a failure the end of the installation. `python .build/compile.py`
compiles again what was edited in an editable installation.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand
    BuildHookInterface = object

# mypyc uses the annotations that are there; Cython, without types of its own, was slower.
REQUIREMENTS = ["mypy[mypyc]>=1.14", "setuptools>=77"]
PACKAGE = "protocol"
MODULES = ["protocol/frames.py", "protocol/websocket.py"]
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
# Minutes on a slow machine; a compiler that hangs must not hang the installation.
TIMEOUT_S = 600

SETUP = f"""
from setuptools import setup
from mypyc.build import mypycify
setup(
    name="{PACKAGE}",
    packages=[],
    # Compiled together they share a library, which gets their __file__ wrong.
    ext_modules=[extension for path in {MODULES!r} for extension in mypycify([path])],
    script_args=["-q", "build_ext", "--inplace"],
)
"""


class CompileHook(BuildHookInterface):
    """Adds the compiled modules to a wheel, or puts them beside the source that is installed."""

    def dependencies(self) -> list[str]:
        """Return what compiling needs, and nothing where it will not be tried."""
        return REQUIREMENTS if is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files of the wheel are gathered."""
        root = Path(self.root)
        if version == "editable":
            delete_compiled(root)  # also where no others take their place: they may be old
        if not is_wanted():
            self.app.display_warning(f"{', '.join(MODULES)} stay plain Python")
            return
        self.folder = tempfile.TemporaryDirectory()  # until this process ends
        try:
            compiled = compile_modules(root, Path(self.folder.name))
        except (OSError, subprocess.SubprocessError) as error:
            why = getattr(error, "stderr", None) or str(error)
            if os.environ.get("GATEWAY_COMPILE") == "1":
                raise RuntimeError(f"compiling failed: {why}") from error
            last_line = why.strip().splitlines()[-1]
            self.app.display_warning(f"{', '.join(MODULES)} stay plain Python: {last_line}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version == "editable":
            copy_beside_source(compiled, root)
        else:  # the source may be that of an editable installation, which keeps what it has
            names = {str(path): f"{PACKAGE}/{path.name}" for path in compiled}
            build_data["force_include"].update(names)


def is_wanted() -> bool:
    """Return whether to compile: as GATEWAY_COMPILE says, or where CPython finds a compiler."""
    wish = os.environ.get("GATEWAY_COMPILE", "")
    if wish in ("0", "1"):
        return wish == "1"
    if sys.implementation.name != "cpython":
        return False
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    return sys.platform == "win32" or shutil.which(command.split()[0]) is not None


def find_compiled(root: Path) -> list[Path]:
    """Return the compiled files for this Python that lie in the package."""
    return sorted((root / PACKAGE).glob(f"*{SUFFIX}"))


def delete_compiled(root: Path) -> None:
    """Delete what was compiled before."""
    for path in find_compiled(root):
        path.unlink()


def compile_modules(root: Path, folder: Path) -> list[Path]:
    """Compile a copy of the package of root in folder; return the compiled files."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
    shutil.copytree(root / PACKAGE, folder / PACKAGE, ignore=ignored)
    command = [sys.executable, "-c", SETUP]
    subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    return find_compiled(folder)


def copy_beside_source(compiled: list[Path], root: Path) -> None:
    """Put compiled files into the package of root."""
    for path in compiled:
        shutil.copyfile(path, root / PACKAGE / path.name)


if __name__ == "__main__":
    here = Path(__file__).parents[1]
    delete_compiled(here)
    with tempfile.TemporaryDirectory() as folder:
        copy_beside_source(compile_modules(here, Path(folder)), here)
