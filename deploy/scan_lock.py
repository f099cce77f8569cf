"""Says which packages of a lock have known vulnerabilities, or that nobody was there to ask; runs pip-audit.

    pip install pip-audit && python deploy/scan_lock.py requirements.lock

Options that follow are pip-audit's, such as another service. Ends with 0 where every package was looked up and none is
vulnerable, with 75 (EX_TEMPFAIL of sysexits.h) where the advisory service cannot be had for any, and otherwise with 1:
half a scan is none, and whoever reads of it as passed believes what was not looked at.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

CLEAN: Final = 0
FAILED: Final = 1
NOT_SCANNED: Final = 75

_UNREACHED: Final = re.compile(
    r"requests\.exceptions\.(ConnectionError|ConnectTimeout|ProxyError|ReadTimeout|SSLError)"
    r"|Could not connect to PyPI's vulnerability feed"
)
_NOT_FOUND: Final = "Dependency not found on PyPI"
"""Why pip-audit skips a package that PyPI has not; where that is each of them, it asked something else than PyPI."""

_WANTED: Final = re.compile(r"^([\w.-]+)==[^ ;]+ *\\?$", re.MULTILINE)
"""A package that is wanted everywhere: one with a marker may be none of this machine's."""


class Verdict(NamedTuple):
    """How the scan ended, and what to tell."""

    status: int
    lines: list[str]


def main() -> None:
    """The lock is the first argument."""
    lock, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        asked = ["--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json", "--output", report]
        command = [sys.executable, "-m", "pip_audit", *asked, "--requirement", lock, *options]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        written = report.read_text(encoding="utf-8") if report.exists() else ""
    verdict = judged(Path(lock).read_text(encoding="utf-8"), written, done.stderr)
    print(*verdict.lines, sep="\n")
    sys.exit(verdict.status)


def judged(lock: str, report: str, said: str) -> Verdict:
    """What pip-audit's report on a lock comes to; where it wrote none, ``said`` tells why."""
    if not report:
        if _UNREACHED.search(said):
            return Verdict(NOT_SCANNED, ["NOT SCANNED: the advisory service cannot be reached."])
        return Verdict(FAILED, ["pip-audit failed:", *said.splitlines()])
    found = json.loads(report)["dependencies"]
    skipped = [f"not looked up: {each['skip_reason']}" for each in found if "skip_reason" in each]
    if found and len(skipped) == len(found) and all(_NOT_FOUND in line for line in skipped):
        return Verdict(NOT_SCANNED, [f"NOT SCANNED: the advisory service knows none of {len(found)} packages."])
    passed_over = sorted(_names(lock) - {_plain(each["name"]) for each in found})
    missing = [f"not looked up: {name} is in the lock, and not in the report" for name in passed_over]
    vulnerable = [_told(each, flaw) for each in found for flaw in each.get("vulns", ())]
    if lines := [*vulnerable, *skipped, *missing]:
        return Verdict(FAILED, lines)
    return Verdict(CLEAN, [f"{len(found)} packages, none with a known vulnerability."])


def _told(package: dict[str, str], flaw: dict[str, list[str]]) -> str:
    ids = " ".join([str(flaw["id"]), *flaw.get("aliases", ())])
    mended = f"mended in {', '.join(flaw['fix_versions'])}" if flaw["fix_versions"] else "not mended yet"
    return f"vulnerable: {package['name']} {package['version']}: {ids}, {mended}"


def _names(lock: str) -> set[str]:
    return {_plain(name) for name in _WANTED.findall(lock)}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
