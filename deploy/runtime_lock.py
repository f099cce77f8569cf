"""Prints the part of requirements.lock that an installation needs, each block with its hashes.

The lock knows every version and every hash, but not what only tests and `insula up` need. pip resolves the project's
own dependencies at exactly the lock's versions, for the Python that runs this; the lock's blocks of those are printed.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path


def main() -> None:
    """The lock and pyproject.toml are those of the folder in which this is called."""
    lock = Path("requirements.lock").read_text(encoding="utf-8").rstrip("\n")
    blocks = [block for block in re.split(r"\n(?=\S)", lock) if "==" in block]
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = resolved(project["dependencies"], [block.partition(" \\")[0] for block in blocks])
    print(*(block for block in blocks if block.partition("==")[0] in names), sep="\n")


def resolved(wanted: list[str], versions: list[str]) -> set[str]:
    """The names, as the lock writes them, of everything that these need at these versions."""
    with tempfile.TemporaryDirectory() as folder:
        requirements, constraints, report = (Path(folder) / name for name in ("wanted", "versions", "report"))
        requirements.write_text("\n".join(wanted), encoding="utf-8")
        constraints.write_text("\n".join(versions), encoding="utf-8")
        asked = ["--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--dry-run", "--ignore-installed"]
        files = ["--report", report, "-r", requirements, "-c", constraints]
        # What pip says goes to stderr: stdout is the lock's.
        subprocess.run([sys.executable, "-m", "pip", "install", *asked, *files], check=True, stdout=sys.stderr)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {re.sub(r"[-_.]+", "-", each["metadata"]["name"]).lower() for each in found}


if __name__ == "__main__":
    main()
