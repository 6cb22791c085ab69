"""What stations and meters said is told in every language; what nobody knows stays as it was said."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import llm_adapters
from llm_adapters.web.findings import FINDING_TEXTS, METER_FINDINGS
from llm_adapters.web.languages import LANGUAGES
from llm_adapters.web.told import told_plainly
from llm_adapters.web.words import Words
from llm_core import Finding, MeterFinding, Trial

ADAPTERS = Path(next(iter(llm_adapters.__path__)))
ENGLISH, GERMAN = Words("en", "UTC"), Words("de", "UTC")
FOREIGN = sorted(set(LANGUAGES) - {"en"})


def details_in(module: str, names: frozenset[str]) -> Iterator[str]:
    """Every text that this adapter tells as the last value of such a call, with a 7.5 for each value in it."""
    tree = ast.parse((ADAPTERS / module).read_text())
    assigned = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names and node.args:
            told = node.args[-1]
            told = assigned.get(told.id, told) if isinstance(told, ast.Name) else told
            if isinstance(told, ast.Constant) and isinstance(told.value, str):
                yield told.value
            elif isinstance(told, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else _value(part) for part in told.values)


def _value(part: ast.expr) -> str:
    return "A" if "'W'" in ast.unparse(part) else "7.5"


@pytest.mark.parametrize(
    ("module", "names", "least"),
    [
        ("ocpp16/commissioning.py", frozenset({"Tried", "BrokenOff"}), 20),
        ("modbus/line.py", frozenset({"ConnectionError", "RefusedError"}), 4),
    ],
)
def test_everything_that_a_test_can_tell_is_told_in_every_language(
    module: str, names: frozenset[str], least: int
) -> None:
    told = {*details_in(module, names)}
    assert len(told) >= least
    for text in told:
        for language in FOREIGN:
            assert told_plainly(text, Words(language, "UTC")) != text, text


def test_numbers_are_written_as_readers_write_them() -> None:
    assert told_plainly("told 6 A, from 15.9 to 6.1 A", GERMAN) == "Vorgabe 6 A, von 15,9 auf 6,1 A"
    assert told_plainly("told 6 A, from 15.9 to 6.1 A", ENGLISH) == "told 6 A, from 15.9 to 6.1 A"


def test_the_settings_of_a_station_are_named_one_by_one() -> None:
    assert told_plainly("units Current,Power, levels 10", GERMAN) == "Einheiten Current,Power, Ebenen 10"
    assert told_plainly("levels 1, profiles too few", GERMAN) == "1 Ebenen, Platz für zu wenige Grenzen"


def test_answers_are_words_and_a_stations_own_words_stay() -> None:
    assert told_plainly("NotSupported", GERMAN) == "nicht unterstützt"
    assert told_plainly("it does not restart: Rejected", GERMAN) == "sie startet nicht neu: abgelehnt"
    for own in ("", "L1 L2 L3", "Relay stuck at %(n)s", "units"):
        assert told_plainly(own, GERMAN) == own


def test_every_bad_result_of_a_trial_has_a_sentence_in_every_language() -> None:
    assert set(FINDING_TEXTS) == set(Trial)
    for texts in FINDING_TEXTS.values():
        for finding, text in texts.items():
            for language in FOREIGN:
                assert finding is Finding.YES or Words(language, "UTC")(text) != text


def test_every_finding_about_a_meter_has_words() -> None:
    assert set(METER_FINDINGS) == set(MeterFinding)
