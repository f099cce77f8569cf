"""Rules of shape: what a file, a function and a name may be like. Each yields (line, what is wrong)."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePath

from tests.architecture.sources import Function, Source, dotted, last_name

Findings = Iterator[tuple[int, str]]

MAX_LINES, MAX_FUNCTION, MAX_PARAMETERS = 300, 40, 5

VAGUE = re.compile(r"(utils?|commons?|helpers?|bases?|managers?|misc)", re.IGNORECASE)
VAGUE_CLASS = re.compile(r"_?[A-Z]\w*(Utils?|Helper|Manager|Base)$")
LATER = re.compile(r"\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b")
NOQA = re.compile(r"#\s*noqa(?::\s*(?P<codes>[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*))?(?P<reason>\s+(?:#|-)\s*\S+)?")


def files_have_at_most_300_lines(source: Source) -> Findings:
    lines = source.text.count("\n")
    if lines > MAX_LINES:
        yield 1, f"{lines} lines"


def functions_have_at_most_40_lines(source: Source) -> Findings:
    for function in source.functions():
        lines = (function.end_lineno or 0) - function.lineno + 1
        if lines > MAX_FUNCTION:
            yield function.lineno, f"{function.name} has {lines} lines"


def functions_take_at_most_5_parameters(source: Source) -> Findings:
    """Not counting self. A route that reads is free: it takes one parameter for each filter that it offers."""
    for function in source.functions():
        given = function.args
        names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
        count = len(names) - (names[:1] in (["self"], ["cls"])) + bool(given.vararg) + bool(given.kwarg)
        if count > MAX_PARAMETERS and "get" not in {_decorator(each) for each in function.decorator_list}:
            yield function.lineno, f"{function.name} takes {count} parameters"


def names_say_what_a_thing_is(source: Source) -> Findings:
    for part in PurePath(source.path).with_suffix("").parts:
        if VAGUE.fullmatch(part):
            yield 1, f"{part} names everything and so nothing"
    for node in source.all(ast.ClassDef):
        if VAGUE_CLASS.fullmatch(node.name):
            yield node.lineno, f"class {node.name}"


def modules_say_in_one_line_what_they_are(source: Source) -> Findings:
    said = ast.get_docstring(source.tree) or ""
    if source.tree.body and (not said or "\n" in said):
        yield 1, "the module's docstring is not one line"


def nothing_is_left_for_later(source: Source) -> Findings:
    for number, line in enumerate(source.text.splitlines(), 1):
        if LATER.search(line):
            yield number, line.strip()
    for node in source.all(ast.Raise):
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        stub = raised is not None and last_name(raised) == "NotImplementedError"
        if stub and not source.path.startswith("tests/"):
            yield node.lineno, "raises NotImplementedError"


def skipped_tests_give_a_reason(source: Source) -> Findings:
    for name, call in source.calls():
        reasons = [each for each in call.keywords if each.arg == "reason"]
        needed = {"skip": 1, "xfail": 1, "importorskip": 3, "skipif": 3}.get(name)
        if needed is not None and dotted(call.func).startswith("pytest.") and not reasons and len(call.args) < needed:
            yield call.lineno, f"{name} without a reason"
    called = {id(call.func) for _, call in source.calls()}
    for node in source.all(ast.Attribute):
        if dotted(node) in {"pytest.mark.skip", "pytest.mark.xfail"} and id(node) not in called:
            yield node.lineno, f"{dotted(node)} without a reason"


def annotations_are_what_they_say(source: Source) -> Findings:
    """Litestar, SQLAlchemy and msgspec read them at run time."""
    for node in source.nodes:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            yield node.lineno, "imports from __future__"
        if isinstance(node, ast.Name | ast.Attribute) and last_name(node) == "TYPE_CHECKING":
            yield node.lineno, "TYPE_CHECKING"


def imports_are_absolute_and_stand_at_the_top(source: Source) -> Findings:
    for node in source.all(ast.ImportFrom):
        if node.level:
            yield node.lineno, "a relative import"
    for function in source.functions():
        for inner in ast.walk(function):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                yield inner.lineno, f"{function.name} imports"


def callers_stand_above_what_they_call(source: Source) -> Findings:
    """Where a private function has one caller; what several call stands where it reads best."""
    functions = [node for node in source.tree.body if isinstance(node, Function)]
    places = {function.name: function.lineno for function in functions}
    callers: dict[str, set[str]] = {}
    for function in source.functions():
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and node.id in places:
                callers.setdefault(node.id, set()).add(function.name)
    for name, users in callers.items():
        if name.startswith("_") and len(users) == 1 and places[name] < places.get(min(users), 0):
            yield places[name], f"{name} stands above {min(users)}, its only caller"


def ignored_warnings_give_a_reason(source: Source) -> Findings:
    """``# noqa: S608  # the reason``; one reason serves the same code for the rest of a file."""
    explained: set[str] = set()
    for number, line in enumerate(source.text.splitlines(), 1):
        found = NOQA.search(line)
        if found is None:
            continue
        codes = set((found["codes"] or "").replace(" ", "").split(","))
        if found["reason"]:
            explained |= codes
        if not found["codes"] or codes - explained:
            yield number, found[0]


def only_entrypoints_read_the_environment(source: Source) -> Findings:
    if not source.path.startswith(("src/insula/core/", "src/insula/features/")):
        return
    for node in source.nodes:
        if isinstance(node, ast.Name | ast.Attribute) and last_name(node) in {"environ", "getenv", "environb"}:
            yield node.lineno, "reads the environment"


def _decorator(node: ast.expr) -> str:
    return last_name(node.func if isinstance(node, ast.Call) else node)
