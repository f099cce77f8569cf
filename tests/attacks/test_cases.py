"""The attack list: each case is covered, open or not applicable, and the command says which, and what is hidden."""

from typing import Any

import pytest

from tests.attacks.__main__ import faults, lines, main

TABLE: dict[str, Any] = {
    "cases": {"1": "a door", "2": "a window", "3": "a chimney", "4": "a moat"},
    "waits": {"windows": [2], "bricks": [3]},
    "not_applicable": {"4": "the house stands on a hill"},
}
TESTS = {1: ["a", "b", "c", "d"], 3: ["e"]}


def test_the_list_is_whole_and_true(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    printed = capsys.readouterr().out
    assert " 0 missing of 140" in printed
    assert "; the rest waits for trusted devices" in printed  # case 23: nothing else hides behind its tests


def test_each_state_is_told_and_counted() -> None:
    assert [" ".join(line.split()) for line in lines(TABLE, TESTS)] == [
        "1 a door covered a, b, c and 1 more",
        "2 a window open waits for windows",
        "3 a chimney in part e; the rest waits for bricks",
        "4 a moat - the house stands on a hill",
        "1 covered, 1 covered in part, 1 open, 1 not applicable, 0 missing of 4",
    ]
    assert list(faults(TABLE, TESTS)) == []


@pytest.mark.parametrize(
    ("change", "tests", "fault"),
    [
        ({"waits": {"bricks": [3]}}, TESTS, "2 has neither tests nor a reason"),
        ({"not_applicable": {}}, TESTS, "4 has neither tests nor a reason"),
        ({}, TESTS | {5: ["f"]}, "5 is no case"),
        ({"waits": {"windows": [2, 6]}}, TESTS, "6 is no case"),
        ({"not_applicable": {"4": "a hill", "7": "a lake"}}, TESTS, "7 is no case"),
        ({"not_applicable": {"4": " "}}, TESTS, "4 is not applicable without a word of why"),
        ({}, TESTS | {4: ["f"]}, "4 is not applicable, and has tests"),
        ({"waits": {"windows": [2, 4]}}, TESTS, "4 is not applicable, and waits"),
    ],
)
def test_what_is_planted_is_found(change: dict[str, Any], tests: dict[int, list[str]], fault: str) -> None:
    assert fault in list(faults(TABLE | change, tests))
