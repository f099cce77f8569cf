"""`./insula python -m tests.attacks`: which attacks are covered by which tests, open, or not applicable, and why."""

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
COVERED_SHOWN = 3


def main() -> int:
    """Print the table and the counts; fails when the table is not whole or not true."""
    table = tomllib.loads(Path(__file__).with_name("cases.toml").read_text(encoding="utf-8"))
    tests = covered()
    print("\n".join(lines(table, tests)))
    wrong = list(faults(table, tests))
    print("".join(f"\nWRONG: {fault}" for fault in wrong), end="")
    return 1 if wrong else 0


def lines(table: Mapping[str, Any], tests: Mapping[int, list[str]]) -> Iterator[str]:
    """Each case with its state, then how many there are of each."""
    cases = {int(number): name for number, name in table["cases"].items()}
    waits, beside = _waits(table), _not_applicable(table)
    for number, name in sorted(cases.items()):
        yield f"{number:>3}  {name:<70}  {_state(tests.get(number, []), waits.get(number), beside.get(number))}"
    whole, partly = set(cases) & set(tests) - set(waits), set(cases) & set(tests) & set(waits)
    unmet, unsuited = set(cases) & set(waits) - set(tests), set(cases) & set(beside) - set(tests) - set(waits)
    missing = len(cases) - len(whole | partly | unmet | unsuited)
    yield (
        f"\n{len(whole)} covered, {len(partly)} covered in part, {len(unmet)} open, {len(unsuited)} not applicable,"
        f" {missing} missing of {len(cases)}"
    )


def faults(table: Mapping[str, Any], tests: Mapping[int, list[str]]) -> Iterator[str]:
    """What keeps the table from being whole and true."""
    cases = {int(number) for number in table["cases"]}
    waits, beside = _waits(table), _not_applicable(table)
    for number in sorted(cases - set(tests) - set(waits) - set(beside)):
        yield f"{number} has neither tests nor a reason"
    for number in sorted({*tests, *waits, *beside} - cases):
        yield f"{number} is no case"
    for number, reason in sorted(beside.items()):
        if not reason.strip():
            yield f"{number} is not applicable without a word of why"
        if number in tests or number in waits:
            yield f"{number} is not applicable, and {'has tests' if number in tests else 'waits'}"


def _state(found: list[str], waits: str | None, beside: str | None) -> str:
    rest = f"waits for {waits}" if waits else ""
    if found:
        more = f" and {len(found) - COVERED_SHOWN} more" if len(found) > COVERED_SHOWN else ""
        shown = f"{', '.join(found[:COVERED_SHOWN])}{more}"
        return f"in part   {shown}; the rest {rest}" if rest else f"covered   {shown}"
    if rest:
        return f"open      {rest}"
    return f"-         {beside}" if beside else "MISSING"


def _waits(table: Mapping[str, Any]) -> dict[int, str]:
    return {number: feature for feature, numbers in table.get("waits", {}).items() for number in numbers}


def _not_applicable(table: Mapping[str, Any]) -> dict[int, str]:
    return {int(number): reason for number, reason in table.get("not_applicable", {}).items()}


def covered() -> dict[int, list[str]]:
    """Number -> the tests that carry it, as file::test."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        whole_file = [number for node in tree.body if isinstance(node, ast.Assign) for number in numbers(node.value)]
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                marked = [number for decorator in node.decorator_list for number in numbers(decorator)]
                for number in {*marked, *whole_file}:
                    found[number].append(f"{path.relative_to(TESTS)}::{node.name}")
    return found


def numbers(expression: ast.expr) -> Iterator[int]:
    """The attack numbers in a marker, wherever it stands in the expression."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and _is_attack(node.func):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
                    yield argument.value


def _is_attack(function: Any) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "attack"


if __name__ == "__main__":
    sys.exit(main())
