"""`./insula python -m tests.attacks`: which attacks are covered by which tests, which wait for what, and which are open."""

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
COVERED_SHOWN = 3


def main() -> int:
    """Print the table; fails when a case has neither tests nor a reason, or has both a number and no case."""
    table = tomllib.loads(Path(__file__).with_name("cases.toml").read_text(encoding="utf-8"))
    cases = {int(number): name for number, name in table["cases"].items()}
    waits = {number: feature for feature, numbers in table["waits"].items() for number in numbers}
    tests = covered()
    missing = []
    for number, name in sorted(cases.items()):
        if found := tests.get(number):
            more = f" and {len(found) - COVERED_SHOWN} more" if len(found) > COVERED_SHOWN else ""
            state = f"covered   {', '.join(found[:COVERED_SHOWN])}{more}"
        elif number in waits:
            state = f"open      waits for {waits[number]}"
        else:
            state = "MISSING"
            missing.append(number)
        print(f"{number:>3}  {name:<70}  {state}")
    unknown = sorted(set(tests) - set(cases))
    count = len([number for number in cases if number in tests])
    print(f"\n{count} covered, {len(cases) - count - len(missing)} open, {len(missing)} missing of {len(cases)}")
    if missing or unknown:
        print(f"neither tests nor a reason: {missing}; numbers that are no case: {unknown}")
    return 1 if missing or unknown else 0


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
