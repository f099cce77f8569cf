"""Rules of data: who opens transactions, and what a statement is made of. Each yields (line, what is wrong)."""

import ast
import re
from collections.abc import Iterator

from tests.architecture.shape import Findings
from tests.architecture.sources import Source, dotted, last_name

OPENERS = re.compile(
    r"(.*\.)?(create_pool|create_engine|create_async_engine|(async_)?sessionmaker|AsyncSession|Session|begin_nested)"
    r"|asyncpg\.connect|(.*\.)?_?(engine|connection|session|driver|db)\.begin|(.*\.)?_?(connection|driver)\.transaction"
)
SENDERS = {
    "execute",
    "executemany",
    "fetch",
    "fetchrow",
    "fetchval",
    "fetchmany",
    "exec_driver_sql",
    "text",
    "prepare",
    "cursor",
    "copy_from_query",
    "scalar",
    "scalars",
}
TRANSACTION_WORDS = re.compile(r"\s*(BEGIN|START TRANSACTION|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b[^.a-z]*", re.ASCII)
STATEMENT = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|GRANT|REVOKE|ALTER|CREATE|DROP|SET LOCAL|COPY|TRUNCATE|MERGE)\s"
)
CONTEXT = re.compile(r"\bset_config\b|\bSET\s+(LOCAL\s+|SESSION\s+)?(ROLE|SESSION AUTHORIZATION|app\.)", re.IGNORECASE)


def transactions_are_opened_in_one_place(source: Source) -> Findings:
    for _, call in source.calls():
        if OPENERS.fullmatch(dotted(call.func)):
            yield call.lineno, f"{dotted(call.func)}()"
    for line, text in source.strings():
        if TRANSACTION_WORDS.match(text) and text.split(None, 1)[0].isupper():
            yield line, f"says {text[:40]!r}"


def sql_is_never_built_from_strings(source: Source) -> Findings:
    """Constants that are joined when the file is imported are one literal in two parts; nothing else is joined."""
    constant = set(_joined_constants(source))
    for name, call in source.calls():
        if name not in SENDERS or not call.args:
            continue
        given = _value_of(source, call.args[0])
        if _is_built(given) and given not in constant:
            yield call.lineno, f"{name} gets a string built at run time"
    for node in source.nodes:
        if _is_built(node) and node not in constant and STATEMENT.match(_beginning(node)):
            yield getattr(node, "lineno", 1), f"builds {_beginning(node)[:40]!r}"


def text_takes_literals_only(source: Source) -> Findings:
    for _, call in source.calls():
        ours = dotted(call.func) in {"text", "sa.text", "sqlalchemy.text"}
        if ours and not (call.args and isinstance(call.args[0], ast.Constant)):
            yield call.lineno, "text() of something that is not a literal"


def lists_are_never_counted(source: Source) -> Findings:
    """A count reads every row; a page reads one page."""
    for name, call in source.calls():
        if dotted(call.func).endswith("func.count") or name == "list_and_count":
            yield call.lineno, f"{dotted(call.func)}()"
    for line, text in source.strings():
        if re.search(r"\bcount\(\s*(\*|1|DISTINCT)", text, re.IGNORECASE):
            yield line, f"counts: {text[:40]!r}"


def the_context_is_set_by_doors_only(source: Source) -> Findings:
    for line, text in source.strings():
        if CONTEXT.search(text):
            yield line, text[:60]


def time_comes_from_the_clock(source: Source) -> Findings:
    for _, call in source.calls():
        if dotted(call.func) in {"datetime.now", "datetime.utcnow", "datetime.datetime.now", "date.today", "time.time"}:
            yield call.lineno, f"{dotted(call.func)}()"


def ids_sort_by_time(source: Source) -> Findings:
    for name, call in source.calls():
        if name in {"uuid1", "uuid3", "uuid4", "uuid5"}:
            yield call.lineno, f"{name}()"


def other_hosts_are_called_through_the_outbound_client(source: Source) -> Findings:
    """It has the timeouts, and knows the addresses that nobody may be sent to."""
    if not source.path.startswith(("src/insula/core/", "src/insula/features/")):
        return
    for node in source.nodes:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        for name in [module, *(f"{module}.{each.name}".strip(".") for each in node.names)]:
            if re.fullmatch(r"(httpx2?|aiohttp|requests|urllib3|http\.client|urllib\.request)", name):
                yield node.lineno, f"imports {name}"


def _is_built(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return any(_is_text(side) for side in (node.left, node.right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in {"format", "join", "replace", "format_map"} and _is_text(node.func.value)
    return False


def _is_text(node: ast.AST) -> bool:
    literal = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return literal or isinstance(node, ast.JoinedStr) or _is_built(node)


def _beginning(node: ast.AST) -> str:
    """The first literal words of a built string."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.strip():
            return part.value
    return ""


def _value_of(source: Source, node: ast.AST) -> ast.AST:
    """What a plain name was last given in this file, or the node itself."""
    if isinstance(node, ast.Name):
        for assigned in source.nodes:
            if isinstance(assigned, ast.Assign | ast.AnnAssign) and assigned.value is not None:
                targets = assigned.targets if isinstance(assigned, ast.Assign) else [assigned.target]
                if node.id in {last_name(target) for target in targets}:
                    return assigned.value
    return node


def _joined_constants(source: Source) -> Iterator[ast.AST]:
    """Strings joined outside of functions, of nothing but literals and CONSTANTS."""
    inside = {id(node) for function in source.functions() for node in ast.walk(function)}
    for node in source.nodes:
        if id(node) not in inside and _is_built(node):
            parts = list(ast.walk(node))
            names = {part.id for part in parts if isinstance(part, ast.Name)}
            calls = {last_name(part.func) for part in parts if isinstance(part, ast.Call)}
            if all(name.isupper() for name in names) and calls <= {"format", "join"}:
                yield node
