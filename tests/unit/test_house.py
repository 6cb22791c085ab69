"""The house rules hold in the whole repository, and each of them can fail."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llm_core
from unit import house

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
DOCS = ROOT / "docs"
README = ROOT / "README.md"

Rule = Callable[[str], Iterator[str]]


def sources(under: str = "", pattern: str = "*.py") -> list[str]:
    return sorted(str(path.relative_to(SRC)) for path in (SRC / under).rglob(pattern))


def pages() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in [README, *DOCS.rglob("*.md")])


def faults(rule: Rule, *paths: Path) -> list[str]:
    return [f"{path.relative_to(ROOT)}: {fault}" for path in paths for fault in rule(path.read_text("utf-8"))]


# The repository keeps the rules


@pytest.mark.parametrize("path", sources("llm_core"))
def test_the_core_has_no_clock_no_chance_and_no_io(path: str) -> None:
    assert faults(house.impurities, SRC / path) == []


@pytest.mark.parametrize("path", sources("llm_core"))
def test_no_amp_of_the_core_is_a_float(path: str) -> None:
    assert faults(house.floats, SRC / path) == []


@pytest.mark.parametrize("path", [path for path in sources() if "/conformance/" not in path])
def test_no_error_is_swallowed_and_no_safety_rests_on_assert(path: str) -> None:
    assert faults(house.sloppiness, SRC / path) == []


@pytest.mark.parametrize("path", sources())
def test_functions_fit_on_a_screen_and_files_hide_one_thing(path: str) -> None:
    assert faults(house.long_functions, SRC / path) + faults(house.overlong, SRC / path) == []


@pytest.mark.parametrize("path", sources())
def test_module_names_say_what_they_hide(path: str) -> None:
    assert list(house.shapeless_name(path)) == []


@pytest.mark.parametrize("path", [path for path in sources("llm_adapters") if path.count("/") > 1])
def test_adapters_know_the_core_by_its_front_door_and_no_other_adapter(path: str) -> None:
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    source = (SRC / path).read_text("utf-8")
    package = module + ".__init__" if path.endswith("__init__.py") else module
    assert list(house.trespasses(source, package)) == []


def test_nothing_is_left_unfinished() -> None:
    texts = [*SRC.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *DOCS.rglob("*.md"), README]
    assert faults(house.unfinished, *texts) == []


# The public API and its reference


def test_the_public_names_of_the_core_stand_in_order() -> None:
    assert list(house.unsorted(llm_core.__all__)) == []


def test_the_reference_lists_exactly_the_public_names_of_the_core() -> None:
    listed = re.findall(r"^- `(\w+)`", (DOCS / "reference/core.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(llm_core.__all__), "run: uv run python docs/reference/write_core.py"


# Safety names its proofs


def promised() -> dict[str, tuple[str, str]]:
    """From the tables of safety.md: number -> what is promised, and what holds it."""
    rows = re.findall(r"^\| ([IF]\d+) \| (.+) \| (.+?) \|$", (DOCS / "safety.md").read_text("utf-8"), re.MULTILINE)
    return {number: (promise, proof) for number, promise, proof in rows}


def test_every_invariant_is_numbered() -> None:
    assert {f"I{n}" for n in range(1, 7)} | {f"F{n}" for n in range(1, 23)} == set(promised())


@pytest.mark.parametrize("number", sorted(promised()))
def test_every_invariant_names_a_test_that_exists_or_says_that_it_is_not_held_yet(number: str) -> None:
    proof = promised()[number][1]
    named = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", proof)
    assert named or "not held yet" in proof
    for path, test in named:
        assert test in house.claims((ROOT / path).read_text("utf-8")), f"{path} has no {test}"


# The docs hang together


@pytest.mark.parametrize("page", pages())
def test_every_link_of_the_docs_leads_somewhere(page: str) -> None:
    assert list(broken_links(ROOT / page)) == []


def broken_links(page: Path) -> Iterator[str]:
    for link in house.links(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else page.parent / path
        if not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and anchor not in house.anchors(target.read_text("utf-8")):
            yield f"{link}: there is no such heading"


def test_the_example_of_the_readme_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    example = README.read_text("utf-8").split("```python\n")[1].split("```")[0]
    exec(example, {})
    assert capsys.readouterr().out.split() == [
        "A",
        "11700",
        "shared_limit",
        "B",
        "11700",
        "shared_limit",
        "C",
        "11600",
        "shared_limit",
    ]


def test_every_page_is_reachable_from_the_index() -> None:
    reached, ahead = set(), [(DOCS / "index.md").resolve()]
    while ahead:
        page = ahead.pop()
        if page not in reached and page.suffix == ".md" and page.is_relative_to(DOCS):
            reached.add(page)
            ahead += [(page.parent / link.partition("#")[0]).resolve() for link in house.links(page.read_text("utf-8"))]
    assert {path.resolve() for path in DOCS.rglob("*.md")} - reached == set()


# Each rule can fail


@pytest.mark.parametrize(
    "bad",
    [
        "import time",
        "import random",
        "import os",
        "import logging",
        "import asyncio",
        "import secrets, uuid",
        "from socket import socket",
        "from subprocess import run",
        "import threading",
        "import cattrs",
        "from llm_adapters.modbus import poller",
        "from datetime import datetime\nnow = datetime.now()",
        "import datetime\nnow = datetime.datetime.now()",
        "from datetime import date\nday = date.today()",
        "from datetime import datetime\nread = datetime.utcnow",
        "open('fuse')",
        "print('tripped')",
        "key = hash('station')",
        "async def tick():\n    return 1",
        "def count():\n    global n\n    n = 1",
    ],
)
def test_an_impure_line_is_found(bad: str) -> None:
    assert list(house.impurities(bad))


def test_a_protocol_may_declare_what_others_run_concurrently() -> None:
    assert list(house.impurities("class Meter:\n    async def read(self):\n        'One reading.'")) == []


@pytest.mark.parametrize("bad", ["limit = 16.0", "limit = float(x)", "half = limit / 2", "limit /= 2"])
def test_a_float_is_found(bad: str) -> None:
    assert list(house.floats(bad))


def test_a_number_for_people_may_have_decimals() -> None:
    assert list(house.floats('f"{limit_ma / 1000:g} A"')) == []


@pytest.mark.parametrize(
    "bad",
    [
        "try:\n    f()\nexcept:\n    g()",
        "try:\n    f()\nexcept OSError:\n    pass",
        "try:\n    f()\nexcept OSError:\n    ...",
        "with suppress(Exception):\n    f()",
        "assert limit_ma <= fuse_ma",
        "stopped_at = datetime(1970, 1, 1)",
        "stopped_at = '1970-01-01'",
    ],
)
def test_sloppiness_is_found(bad: str) -> None:
    assert list(house.sloppiness(bad))


@pytest.mark.parametrize(
    "good",
    ['def f():\n    """Never 1970."""', "EPOCH = datetime(1970, 1, 1)", "if first.year < 1970:\n    refuse()"],
)
def test_1970_may_be_spoken_of_counted_from_and_compared_with(good: str) -> None:
    assert list(house.sloppiness(good)) == []


def test_a_long_function_is_found() -> None:
    body = "    x = 1\n"
    assert list(house.long_functions("def f():\n" + body * house.LONGEST_FUNCTION))
    assert not list(house.long_functions("def f():\n" + body * (house.LONGEST_FUNCTION - 1)))


def test_a_long_file_is_found_unless_it_is_data() -> None:
    data = "x = 1\n" * house.LONGEST_FILE
    assert list(house.overlong(data + "def f(): ...\n"))
    assert not list(house.overlong(data + "y = 2\n"))


@pytest.mark.parametrize("bad", ["utils.py", "web/helpers.py", "session_manager.py", "base/meter.py", "common.py"])
def test_a_shapeless_name_is_found(bad: str) -> None:
    assert list(house.shapeless_name(bad))


def test_a_name_that_only_contains_such_letters_is_no_fault() -> None:
    assert list(house.shapeless_name("sqlite/database.py")) == []


@pytest.mark.parametrize("bad", ["# TO" + "DO: later", "x = 1  # FIX" + "ME"])
def test_a_note_to_oneself_is_found(bad: str) -> None:
    assert list(house.unfinished(bad))


@pytest.mark.parametrize(
    ("module", "bad"),
    [
        ("llm_adapters.modbus.poller", "import llm_core"),
        ("llm_adapters.modbus.poller", "from llm_core.state import State"),
        ("llm_adapters.modbus.poller", "from llm_adapters.sqlite import store"),
        ("llm_adapters.modbus.poller", "from llm_adapters import sqlite"),
        ("llm_adapters.modbus.poller", "from ..sqlite import store"),
        ("llm_adapters.modbus.__init__", "from ..sqlite import store"),
        ("llm_adapters.modbus.poller", "from llm_app.wiring import build"),
        ("llm_adapters.virtual.plant", "from llm_core import PerPhase"),
    ],
)
def test_a_trespass_is_found(module: str, bad: str) -> None:
    assert list(house.trespasses(bad, module))


@pytest.mark.parametrize(
    "good",
    ["from llm_core import State", "from llm_adapters.modbus.models import MODELS", "from .models import MODELS"],
)
def test_an_adapter_may_use_the_front_door_and_its_own_rooms(good: str) -> None:
    assert list(house.trespasses(good, "llm_adapters.modbus.poller")) == []


def test_disorder_and_repetition_are_found() -> None:
    assert list(house.unsorted(["Site", "Phase"]))
    assert list(house.unsorted(["allocate", "Site"]))
    assert list(house.unsorted(["Site", "Site"]))
    assert not list(house.unsorted(["SITE", "Phase", "Site", "allocate"]))


def test_claims_are_the_tests_of_a_file() -> None:
    source = "def test_a(): ...\nclass TestB:\n    def test_c(self): ...\nTestD = D.TestCase\ndef build(): ...\n"
    assert house.claims(source) == {"test_a", "TestB::test_c", "TestD"}


def test_links_and_headings_are_read_as_people_see_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`, three\n[a](#one-two-three) [b](#four) [c](none.md) `[d](code.md)`\n", "utf-8")
    assert [fault.split(":")[0] for fault in broken_links(page)] == ["#four", "none.md"]
