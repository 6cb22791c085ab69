"""The house rules as functions: each takes the text of one file and names what breaks the rule, line by line.

They read the syntax tree, because an import checker does not see `datetime.now()`. `test_house.py` applies them to
the whole repository and shows for each one that it can fail.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

Function = ast.FunctionDef | ast.AsyncFunctionDef

# What a pure module has reason to import. Whoever extends the list answers for its purity.
PURE_IMPORTS = {
    "__future__",
    "attrs",
    "bisect",
    "collections",
    "collections.abc",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "re",
    "typing",
}
# Built-in calls that read or change the world, or differ from one run to the next.
IMPURE_CALLS = {
    "open",
    "print",
    "input",
    "eval",
    "exec",
    "compile",
    "breakpoint",
    "globals",
    "__import__",
    "hash",
    "id",
}
CLOCK_READINGS = {"now", "utcnow", "today", "fromtimestamp", "astimezone"}
SHAPELESS_NAMES = {"util", "utils", "helper", "helpers", "manager", "managers", "base", "common", "misc"}
LONGEST_FUNCTION = 60
LONGEST_FILE = 500


def impurities(source: str) -> Iterator[str]:
    """A clock, chance, I/O, the environment, concurrency, or an import from outside the pure few."""
    for node in ast.walk(ast.parse(source)):
        for module in _imported(node):
            if module.split(".")[0] != "llm_core" and module not in PURE_IMPORTS:
                yield f"{_line(node)} imports {module}"
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                yield f"{node.lineno} calls {name}"
            case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr=name) if name in CLOCK_READINGS:
                yield f"{node.lineno} reads the clock: {name}"
            case ast.Call(func=ast.Attribute(attr=name)) if name in CLOCK_READINGS - {"fromtimestamp"}:
                yield f"{node.lineno} reads the clock: {name}"
            case ast.AsyncFunctionDef(body=body) if not _is_declaration(body):
                yield f"{node.lineno} runs concurrently: {node.name}"
            case ast.Global():
                yield f"{node.lineno} changes a global"


def floats(source: str) -> Iterator[str]:
    """A float where amps are counted. What is only formatted for people, inside an f-string, is no number any more."""
    tree = ast.parse(source)
    shown = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.FormattedValue) for part in ast.walk(node.value)
    }
    for node in ast.walk(tree):
        if id(node) in shown:
            continue
        match node:
            case ast.Constant(value=float()):
                yield f"{node.lineno} has a float"
            case ast.Call(func=ast.Name(id="float")):
                yield f"{node.lineno} makes a float"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield f"{node.lineno} divides with /"


def sloppiness(source: str) -> Iterator[str]:
    """Errors that vanish, safety that `-O` switches off, and absence spelt as 1970."""
    tree = ast.parse(source)
    texts = {id(text) for text in (*_docstrings(tree), *_origins_of_time(tree))}
    for node in ast.walk(tree):
        match node:
            case ast.ExceptHandler(type=None):
                yield f"{node.lineno} catches everything"
            case ast.ExceptHandler(body=[ast.Pass() | ast.Expr(value=ast.Constant())]):
                yield f"{node.lineno} swallows an error"
            case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=kinds) if any(
                isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException") for kind in kinds
            ):
                yield f"{node.lineno} swallows every error"
            case ast.Assert():
                yield f"{node.lineno} asserts, which -O switches off"
            case ast.Constant(value=1970) if id(node) not in texts:
                yield f"{node.lineno} has 1970 for a date that is absent"
            case ast.Constant(value=str() as text) if "1970" in text and id(node) not in texts:
                yield f"{node.lineno} has 1970 for a date that is absent"


def long_functions(source: str) -> Iterator[str]:
    """Functions that do not fit on a screen."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{node.lineno} {node.name} has {length} lines"


def overlong(source: str) -> Iterator[str]:
    """A file that hides more than one thing. Files of data (no function, no class) are as long as their data."""
    length = source.count("\n")
    defines = any(isinstance(node, Function | ast.ClassDef) for node in ast.walk(ast.parse(source)))
    if defines and length > LONGEST_FILE:
        yield f"has {length} lines"


def shapeless_name(path: str) -> Iterator[str]:
    """A module or package whose name does not say what it hides."""
    for part in path.removesuffix(".py").split("/"):
        if set(part.split("_")) & SHAPELESS_NAMES:
            yield f"“{part}” says nothing"


def unfinished(text: str) -> Iterator[str]:
    """Notes to oneself. (The words are put together here, so that this file passes.)"""
    words = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
    for number, line in enumerate(text.splitlines(), 1):
        if words.search(line):
            yield f"{number} is unfinished: {line.strip()}"


def trespasses(source: str, module: str) -> Iterator[str]:
    """What an adapter must not import: the core's rooms, another adapter, the app; and the plant nothing of ours."""
    adapter = module.split(".")[1]
    for node in ast.walk(ast.parse(source)):
        for imported in _imported(node, module):
            owner, *rooms = imported.split(".")
            if owner == "llm_core" and adapter == "virtual":
                yield f"{_line(node)} the plant judges the controller and imports nothing of it"
            elif owner == "llm_core" and (rooms or isinstance(node, ast.Import)):
                yield f"{_line(node)} imports {imported}, not “from llm_core import …”"
            elif owner == "llm_app":
                yield f"{_line(node)} imports the app"
            elif owner == "llm_adapters" and rooms and rooms[0] != adapter:
                yield f"{_line(node)} imports the adapter {rooms[0]}"


def unsorted(names: list[str]) -> Iterator[str]:
    """Constants, then classes, then functions, each by name: the order in which `__all__` is kept."""

    def order(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    for before, after in pairwise(names):
        if order(before) >= order(after):
            yield f"{after} stands behind {before}"


def claims(source: str) -> set[str]:
    """The tests that a file defines, those of a class as `Class::test`."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, Function):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, Function)}
        elif isinstance(node, ast.Assign):  # a stateful test: TestBooks = Books.TestCase
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if name.split("::")[-1].lower().startswith("test")}


def links(markdown: str) -> Iterator[str]:
    """The targets of all links and pictures, code aside."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", markdown, flags=re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)", prose)
    yield from re.findall(r"(?:src|href)=\"([^\"]+)\"", prose)


def anchors(markdown: str) -> set[str]:
    """The fragments that the headings of a page can be reached by."""
    prose = re.sub(r"```.*?```", "", markdown, flags=re.DOTALL)
    headings = re.findall(r"^#+\s+(.+?)\s*$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _imported(node: ast.AST, inside: str = "") -> Iterator[str]:
    """The absolute names of the modules that a statement imports from."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = inside.split(".")[: -node.level] if node.level else []
        source = ".".join([*above, *(node.module or "").split(".")]).strip(".")
        if source == "llm_adapters":  # from llm_adapters import modbus
            yield from (f"{source}.{alias.name}" for alias in node.names)
        else:
            yield source


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        match node:
            case (
                ast.Module(body=[ast.Expr(value=ast.Constant() as text), *_])
                | ast.ClassDef(body=[ast.Expr(value=ast.Constant() as text), *_])
                | ast.FunctionDef(body=[ast.Expr(value=ast.Constant() as text), *_])
                | ast.AsyncFunctionDef(body=[ast.Expr(value=ast.Constant() as text), *_])
            ):
                yield text


def _origins_of_time(tree: ast.Module) -> Iterator[ast.AST]:
    """Where 1970 is meant: a constant called epoch to count from, and a comparison."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) if name.lower().endswith("epoch"):
                yield from ast.walk(node)
            case ast.Compare():
                yield from ast.walk(node)


def _is_declaration(body: list[ast.stmt]) -> bool:
    """A method of a Protocol: a docstring or `...`, and nothing that runs."""
    match body:
        case [ast.Expr(value=ast.Constant())]:
            return True
        case _:
            return False


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)
