"""With --nothing-skipped, a test that was skipped or that was expected to fail makes the run fail."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

MAY_BE_SKIPPED: Final = {
    "tests/embedded/test_embedded_postgres.py::test_root_without_user_namespaces_runs_as_nobody": (
        "who is not root cannot become somebody else"
    ),
    "tests/embedded/test_embedded_postgres.py::test_a_system_postgres_will_do": (
        "not every system has PostgreSQL 15; where the peers are tested, its oldest one runs the migrations"
    ),
}
"""Tests that what runs them may lack the means for, and why nothing is lost by it."""


class NothingSkipped:
    """Counts what did not run, also on the workers of xdist, and refuses to call that a success."""

    def __init__(self, allowed: Mapping[str, str]) -> None:
        self._allowed, self._found = allowed, dict[str, str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and report.nodeid not in self._allowed:
            expected = getattr(report, "wasxfail", None)
            self._found[report.nodeid] = _reason(report) if expected is None else f"expected to fail: {expected}"

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._found[report.nodeid] = _reason(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._found and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._found:
            terminalreporter.section("skipped, which --nothing-skipped forbids", red=True, bold=True)
            for test, reason in self._found.items():
                terminalreporter.write_line(f"{test}: {reason}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nothing-skipped", action="store_true", help="fail when a test was skipped or expected to fail")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.nothing_skipped and not hasattr(config, "workerinput"):
        config.pluginmanager.register(NothingSkipped(MAY_BE_SKIPPED))


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
