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
    """Adds the compiled modules to a wheel, or puts them beside their source."""

    def dependencies(self) -> list[str]:
        """Return what compiling needs, and nothing where it will not be tried."""
        return REQUIREMENTS if is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files of the wheel are gathered."""
        root = Path(self.root)
        delete_compiled(root)
        if not is_wanted():
            self.app.display_warning(f"{', '.join(MODULES)} stay plain Python")
            return
        try:
            compile_modules(root)
        except (OSError, subprocess.SubprocessError) as error:
            why = getattr(error, "stderr", None) or str(error)
            if os.environ.get("GATEWAY_COMPILE") == "1":
                raise RuntimeError(f"compiling failed: {why}") from error
            delete_compiled(root)
            last_line = why.strip().splitlines()[-1]
            self.app.display_warning(f"{', '.join(MODULES)} stay plain Python: {last_line}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"] += [f"/{path.relative_to(root)}" for path in find_compiled(root)]

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Leave the compiled modules beside their source only where they are used from there."""
        if version != "editable":
            delete_compiled(Path(self.root))


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


def compile_modules(root: Path) -> None:
    """Compile in a folder of its own, and put the results into the package under root."""
    with tempfile.TemporaryDirectory() as folder:
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
        shutil.copytree(root / PACKAGE, Path(folder) / PACKAGE, ignore=ignored)
        command = [sys.executable, "-c", SETUP]
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        for path in find_compiled(Path(folder)):
            shutil.copyfile(path, root / PACKAGE / path.name)


if __name__ == "__main__":
    here = Path(__file__).parents[1]
    delete_compiled(here)
    compile_modules(here)
