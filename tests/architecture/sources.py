"""The project's own Python, read once and parsed."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

ROOT = Path(__file__).parents[2]

N = TypeVar("N", bound=ast.AST)
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Source(NamedTuple):
    """One file of Python; ``path`` counts from the project's root."""

    path: str
    text: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]

    def all(self, kind: type[N]) -> Iterator[N]:
        """Every node of this kind."""
        return (node for node in self.nodes if isinstance(node, kind))

    def functions(self) -> Iterator[Function]:
        """Every function and method."""
        return (node for node in self.nodes if isinstance(node, Function))

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Every call with the last part of what it calls: ``execute`` for ``self._driver.execute(...)``."""
        return ((last_name(call.func), call) for call in self.all(ast.Call))

    def strings(self) -> Iterator[tuple[int, str]]:
        """Every string that is not a docstring, with its line."""
        documentation = {id(statement.value) for statement in self.all(ast.Expr)}
        for node in self.all(ast.Constant):
            if isinstance(node.value, str) and id(node) not in documentation:
                yield node.lineno, node.value


def parse(path: str, text: str) -> Source:
    tree = ast.parse(text)
    return Source(path, text, tree, tuple(ast.walk(tree)))


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Every Python file below these folders."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(map(_read, paths))


@cache
def _read(path: Path) -> Source:
    return parse(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))


def last_name(node: ast.AST) -> str:
    """``c`` of ``a.b.c``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def dotted(node: ast.AST) -> str:
    """``a.b.c`` as it is written, or nothing for what is not a plain path of names."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
