"""The peers' own packages, in a folder outside of the project: a Python environment and node's modules."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

_HERE: Final = Path(__file__).parent
_TWINS: Final = _HERE / "twins"


class Installed(NamedTuple):
    """Where the peers are."""

    python: Path
    node: str
    scripts: Path
    """Twins written in JavaScript: they find modules only beside themselves."""


def install() -> Installed:
    """Install what is not there yet, from the indexes that pip and npm are configured for.

    Versions are exact; another list of them is another folder.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        sys.exit("The peers need Node.js 20 or newer with npm: node and npm are not on the PATH.")
    packages, modules = _HERE / "requirements.txt", _HERE / "package.json"
    named = hashlib.sha256(sys.version.encode() + packages.read_bytes() + modules.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "insula-benchmark-peers" / named
    done, venv = cache / "done", cache / "venv"
    if not done.exists():
        print(f"Installing the peers into {cache} (once)...", flush=True)
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)
        _run(sys.executable, "-m", "venv", venv)
        _run(venv / "bin" / "python", "-m", "pip", "install", "-qq", "--only-binary", ":all:", "-r", packages)
        shutil.copy(modules, cache)
        _run(npm, "install", "--prefix", cache, "--no-package-lock", "--ignore-scripts", "--silent")
        done.touch()
    for script in _TWINS.glob("*.mjs"):
        shutil.copy(script, cache)
    return Installed(venv / "bin" / "python", node, cache)


def _run(*command: str | Path) -> None:
    subprocess.run([*map(str, command)], check=True, stdin=subprocess.DEVNULL)
