"""The scan of the lock: pip-audit's own answers, clean, vulnerable, half and away, and what each comes to."""

import json
import re
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from tests.architecture.sources import ROOT

SCAN: Final = ROOT / "deploy" / "scan_lock.py"
JUDGED: Final[Any] = runpy.run_path(str(SCAN))["judged"]
CI: Final = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

LOCK: Final = """\
idna==3.6 \\
    --hash=sha256:c05567e9c24a6b9faaa835c4821bad0590fbb9d5779e7caa6e1cc4878e7eb24f
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:4f1d9991f5acc0ca119f9d443620b77f9d6b33703e51011c16baf57afb285fc6
six==1.16.0 \\
    --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254
"""
FLAW: Final = {
    "id": "PYSEC-2024-60",
    "aliases": ["CVE-2024-3651"],
    "summary": "idna.encode() takes quadratic time",
    "published": "2024-07-07T18:15:00Z",
    "modified": "2024-07-11T17:42:00Z",
    "affected": [
        {
            "package": {"name": "idna", "ecosystem": "PyPI", "purl": "pkg:pypi/idna"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.7"}]}],
        }
    ],
}
"""As OSV tells it."""

# As pip-audit 2.10.1 wrote them.
IDNA = {"name": "idna", "version": "3.6", "vulns": []}
SIX = {"name": "six", "version": "1.16.0", "vulns": []}
FLAWED = {
    "name": "idna",
    "version": "3.6",
    "vulns": [{"id": "PYSEC-2024-60", "fix_versions": ["3.7"], "aliases": ["CVE-2024-3651"], "description": "..."}],
}
NO_IDNA = {"name": "idna", "skip_reason": "Dependency not found on PyPI and could not be audited: idna (3.6)"}
NO_SIX = {"name": "six", "skip_reason": "Dependency not found on PyPI and could not be audited: six (1.16.0)"}
ODD_SIX = {"name": "six", "skip_reason": "requirement marked as editable"}
CASES: Final = {
    "nothing is known of any": (0, [IDNA, SIX], "2 packages, none with a known vulnerability."),
    "one is vulnerable": (1, [FLAWED, SIX], "vulnerable: idna 3.6: PYSEC-2024-60 CVE-2024-3651, mended in 3.7"),
    "one is skipped": (1, [IDNA, NO_SIX], f"not looked up: {NO_SIX['skip_reason']}"),
    "one is vulnerable, the other is skipped": (1, [FLAWED, NO_SIX], "vulnerable: idna"),
    "one is passed over": (1, [IDNA], "not looked up: six is in the lock, and not in the report"),
    "nothing was looked at": (1, [], "not looked up: idna is in the lock"),
    "all are skipped": (75, [NO_IDNA, NO_SIX], "NOT SCANNED: the advisory service knows none of 2 packages."),
    "all are skipped, one for another reason": (1, [NO_IDNA, ODD_SIX], "not looked up: requirement marked as editable"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_report_comes_to(case: str) -> None:
    status, dependencies, line = CASES[case]
    verdict = JUDGED(LOCK, json.dumps({"dependencies": dependencies, "fixes": []}), "")
    assert verdict.status == status
    assert any(each.startswith(line) for each in verdict.lines), verdict.lines


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (75, "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed"),
        (75, "requests.exceptions.ProxyError: HTTPSConnectionPool(host='...', port=443): Max retries exceeded"),
        (1, "ERROR:pip_audit._cli:requirement idna3.6 is not pinned: idna3.6"),
        (1, "/usr/bin/python: No module named pip_audit"),
        (1, ""),
    ],
)
def test_no_report_is_for_want_of_the_service_only_where_that_is_said(status: int, said: str) -> None:
    assert JUDGED(LOCK, "", said).status == status


class Advisories(BaseHTTPRequestHandler):
    """OSV's query, of a database with one flaw in it."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["package"]["name"]
        body = json.dumps({"vulns": [FLAW]} if asked == "idna" else {}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *told: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has pip-audit."""
    venv = tmp_path_factory.mktemp("audit") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin" / "pip", "install", "-qq", "--only-binary", ":all:", "pip-audit==2.10.1"], check=True)
    return venv / "bin" / "python"


@pytest.fixture
def service() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Advisories)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()
    thread.join()


def scan(python: Path, lock: Path, service: str) -> tuple[int, str]:
    command = [python, SCAN, lock, "--vulnerability-service", "osv", "--osv-url", service]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.peers
def test_pip_audit_itself_is_asked_and_understood(python: Path, service: str, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(LOCK)
    assert scan(python, lock, service) == (
        1,
        "vulnerable: idna 3.6: PYSEC-2024-60 CVE-2024-3651, mended in 3.7\n",
    )
    lock.write_text(LOCK.partition("colorama")[1] + LOCK.partition("colorama")[2])
    assert scan(python, lock, service) == (0, "1 packages, none with a known vulnerability.\n")
    assert scan(python, lock, "http://127.0.0.1:9/v1/query") == (
        75,
        "NOT SCANNED: the advisory service cannot be reached.\n",
    )
    lock.write_text("six\n")
    status, told = scan(python, lock, service)
    assert (status, told.splitlines()[0]) == (1, "pip-audit failed:")


@pytest.mark.peers
def test_the_lock_of_this_program_is_scanned_whole_or_not_at_all(python: Path) -> None:
    command = [python, SCAN, ROOT / "requirements.lock"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (told,) = {
        line.partition(":")[0] for line in done.stdout.splitlines()
    }  # what is vulnerable today is no test's business
    assert re.fullmatch(r"NOT SCANNED|vulnerable|1\d\d packages, none with a known vulnerability\.", told), done.stdout


@pytest.mark.parametrize(("status", "failed", "told"), [(0, 0, "passed"), (75, 0, "NOT SCANNED"), (1, 1, "FAILED (1)")])
def test_the_last_line_of_ci_says_how_the_scan_ended(status: int, failed: int, told: str, tmp_path: Path) -> None:
    script = tmp_path / ".ci" / "run"
    script.parent.mkdir()
    steps = f'scratch=$PWD\nstep "advisories" unless_away sh -c "exit {status}"\ntell_unscanned\nreport\n'
    script.write_text(CI.removesuffix("main\n") + steps)
    done = subprocess.run([shutil.which("bash") or "", script], capture_output=True, text=True, check=False)
    assert done.returncode == failed, done.stderr
    assert re.fullmatch(rf"advisories +{re.escape(told)}.*", done.stdout.splitlines()[-1]), done.stdout


def test_ci_scans_the_lock() -> None:
    assert 'step "advisories" scan_lock\n    tell_unscanned\n' in CI
    assert "unless_away" in CI.partition("scan_lock() {")[2].partition("}")[0]
    assert "deploy/scan_lock.py requirements.lock" in CI
