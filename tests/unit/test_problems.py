"""Claims about the JSON format of allocation problems: what is read, what is refused, what is answered."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_adapters.files.problems import answer, parse_problem, solve_text
from llm_core.allocation import (
    Binding,
    Demand,
    Grant,
    GrantReason,
    Group,
    LimitNode,
    Problem,
    ProblemError,
    Strategy,
)
from llm_core.quantities import PHASES, PerPhase, Phase

EXAMPLE: dict[str, Any] = {
    "nodes": [
        {"id": "site", "parent": None, "limit_a": {"L1": 63, "L2": 63, "L3": 63}},
        {"id": "c1", "parent": "site", "limit_a": {"L1": Decimal("-0.125"), "L2": 32, "L3": 32}},
    ],
    "demands": [
        {
            "id": "A/1",
            "node": "c1",
            "phases": ["L1", "L2", "L3"],
            "min_a": 6,
            "max_a": 16,
            "step_a": Decimal("0.1"),
            "weight": Decimal("0.5"),
            "priority": 3,
            "rank": 2,
            "since": 1,
        },
        {"id": "B/1", "node": "site", "phases": ["L2"], "min_a": 6, "max_a": Decimal("10.50")},
    ],
    "strategy": "priority",
    "minimum_first": False,
    "groups": [{"id": "unbalance", "members": ["B/1"], "limit_a": 20}],
}


def faults(data: object) -> set[str]:
    with pytest.raises(ProblemError) as refusal:
        parse_problem(data)
    return {fault.pointer for fault in refusal.value.faults}


def text_faults(text: str) -> list[str]:
    with pytest.raises(ProblemError) as refusal:
        solve_text(text)
    return [str(fault) for fault in refusal.value.faults]


def changed(change: Callable[[Any], object]) -> dict[str, Any]:
    data = copy.deepcopy(EXAMPLE)
    change(data)
    return data


def test_every_field_arrives() -> None:
    assert parse_problem(EXAMPLE) == Problem(
        nodes=(
            LimitNode("site", None, PerPhase.same(63_000)),
            LimitNode("c1", "site", PerPhase(-125, 32_000, 32_000)),
        ),
        demands=(
            Demand("A/1", "c1", PHASES, 6_000, 16_000, 100, 1, 3, 2, 1),
            Demand("B/1", "site", (Phase.L2,), 6_000, 10_500, weight=2),
        ),
        strategy=Strategy.PRIORITY,
        minimum_first=False,
        groups=(Group("unbalance", frozenset({"B/1"}), 20_000),),
    )


def test_what_is_left_out_takes_its_default() -> None:
    demand = {"id": "a", "node": "site", "phases": ["L1"], "min_a": 6, "max_a": 16}
    data = {"nodes": [{"id": "site", "limit_a": {"L1": 20}}], "demands": [demand]}
    assert parse_problem(data) == Problem(
        (LimitNode("site", None, PerPhase(20_000, 0, 0)),), (Demand("a", "site", (Phase.L1,), 6_000, 16_000),)
    )


def test_a_solved_problem_may_keep_its_seed_and_its_optimum() -> None:
    data = changed(lambda d: (d.update(seed=7), d["demands"][0].update(optimum_a=16)))
    assert parse_problem(data) == parse_problem(EXAMPLE)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda d: d.update(colour="red"), "/colour"),
        (lambda d: d.update(strategy="best"), "/strategy"),
        (lambda d: d.update(strategy=["equal"]), "/strategy"),
        (lambda d: d.update(minimum_first=1), "/minimum_first"),
        (lambda d: d["nodes"].append(7), "/nodes/2"),
        (lambda d: d["nodes"][1].update({"a/b~c": 1}), "/nodes/1/a~1b~0c"),
        (lambda d: d["nodes"][1].update(parent=3), "/nodes/1/parent"),
        (lambda d: d["nodes"][1].update(parent="q"), "/nodes/1/parent"),
        (lambda d: d["nodes"][1].update(limit_a=16), "/nodes/1/limit_a"),
        (lambda d: d["nodes"][1]["limit_a"].update(L4=1), "/nodes/1/limit_a/L4"),
        (lambda d: d["nodes"][1]["limit_a"].pop("L1"), "/nodes/1/limit_a/L1"),
        (lambda d: d["nodes"][1]["limit_a"].pop("L3"), "/nodes/1/limit_a"),
        (lambda d: d["nodes"][1]["limit_a"].update(L1=True), "/nodes/1/limit_a/L1"),
        (lambda d: d["nodes"][1]["limit_a"].update(L1=None), "/nodes/1/limit_a/L1"),
        (lambda d: d["nodes"][1]["limit_a"].update(L1="16"), "/nodes/1/limit_a/L1"),
        (lambda d: d["nodes"][1]["limit_a"].update(L1=16.5), "/nodes/1/limit_a/L1"),
        (lambda d: d["nodes"][1]["limit_a"].update(L1=Decimal("16.0001")), "/nodes/1/limit_a/L1"),
        (lambda d: d["nodes"][1]["limit_a"].update(L1=Decimal("1e-999999")), "/nodes/1/limit_a/L1"),
        (lambda d: d["nodes"][1]["limit_a"].update(L1=Decimal("1e999999")), "/nodes/1/limit_a/L1"),
        (lambda d: d["demands"][0].update(node="q"), "/demands/0/node"),
        (lambda d: d["demands"][0].pop("max_a"), "/demands/0/max_a"),
        (lambda d: d["demands"][0].update(max_a=5), "/demands/0/max_a"),
        (lambda d: d["demands"][0].update(min_a=-1), "/demands/0/min_a"),
        (lambda d: d["demands"][0].update(step_a=0), "/demands/0/step_a"),
        (lambda d: d["demands"][0].update(phases="L1"), "/demands/0/phases"),
        (lambda d: d["demands"][0].update(phases=[]), "/demands/0/phases"),
        (lambda d: d["demands"][0]["phases"].append("L4"), "/demands/0/phases/3"),
        (lambda d: d["demands"][0].update(weight=0), "/demands/0/weight"),
        (lambda d: d["demands"][0].update(weight=Decimal("1e-10")), "/demands/0/weight"),
        (lambda d: d["demands"][0].update(rank=Decimal("1.5")), "/demands/0/rank"),
        (lambda d: d["demands"][0].update(since=10**16), "/demands/0/since"),
        (lambda d: d["demands"][1].update(id="A/1") or d["groups"].clear(), "/demands/1/id"),
        (lambda d: d["groups"][0].update(members=["nobody"]), "/groups/0/members"),
        (lambda d: d["groups"][0].update(members=[3]), "/groups/0/members/0"),
        (lambda d: d["groups"][0].update(limit_a=Decimal("NaN")), "/groups/0/limit_a"),
    ],
)
def test_a_fault_is_named_where_it_is_and_nowhere_else(change: Callable[[Any], object], pointer: str) -> None:
    assert faults(changed(change)) == {pointer}


@pytest.mark.parametrize(
    ("change", "pointer", "consequences"),
    [
        (lambda d: d.pop("nodes"), "/nodes", {"/demands/0/node", "/demands/1/node"}),
        (lambda d: d.update(nodes={}), "/nodes", {"/demands/0/node", "/demands/1/node"}),
        (lambda d: d["nodes"][1].update(id=""), "/nodes/1/id", {"/demands/0/node"}),
        (lambda d: d["demands"][1].update(id=None), "/demands/1/id", {"/groups/0/members"}),
    ],
)
def test_whoever_hangs_on_what_is_missing_is_named_too(
    change: Callable[[Any], object], pointer: str, consequences: set[str]
) -> None:
    assert faults(changed(change)) == {pointer} | consequences


def test_all_faults_come_at_once() -> None:
    data = changed(lambda d: (d["nodes"][0].pop("id"), d["demands"][0].update(min_a="six"), d["demands"].append([])))
    assert {"/nodes/0/id", "/demands/0/min_a", "/demands/2"} <= faults(data)


def test_a_phase_that_the_node_or_one_above_it_lacks_cannot_be_used() -> None:
    def one_phase(data: Any) -> None:
        data["nodes"][0]["limit_a"] = {"L1": 63}

    assert faults(changed(one_phase)) == {"/demands/0/phases", "/demands/1/phases"}


def test_a_circle_of_nodes_is_a_fault_and_no_endless_loop() -> None:
    assert "/nodes/0/parent" in faults(changed(lambda d: d["nodes"][0].update(parent="c1")))


@pytest.mark.parametrize("value", [None, 3, "text", [], True])
def test_only_an_object_is_a_problem(value: object) -> None:
    assert faults(value) == {""}


def test_a_key_given_twice_is_refused() -> None:
    text = '{"nodes": [{"id": "s", "limit_a": {"L1": 1, "L1": 2}}], "demands": [], "demands": []}'
    assert text_faults(text) == [
        "/demands: is given more than once",
        "/nodes/0/limit_a/L1: is given more than once",
    ]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e99999999999999999999", "9" * 5000])
def test_a_limit_that_is_no_finite_number_is_refused(number: str) -> None:
    text = f'{{"nodes": [{{"id": "s", "limit_a": {{"L1": {number}}}}}], "demands": []}}'
    assert text_faults(text) == ["/nodes/0/limit_a/L1: must be a number of amps, 1000000 at most"]


@pytest.mark.parametrize("text", ["", "{", "[1,]", "[" * 100_000, '{"nodes": 0x1}'])
def test_what_is_no_json_is_refused_in_one_line(text: str) -> None:
    assert len(text_faults(text)) == 1


def test_faults_in_an_array_name_the_problem() -> None:
    assert text_faults('[{"nodes": [], "demands": []}, 3, {"nodes": []}]') == [
        "/1: must be an object",
        "/2/demands: is missing",
    ]


def test_an_array_of_problems_gives_an_array_of_answers() -> None:
    assert (
        json.loads(solve_text('[{"nodes": [], "demands": []}, {"demands": [], "nodes": []}]')) == [{"grants": []}] * 2
    )


def test_an_answer_has_amps_as_numbers_and_names_what_binds() -> None:
    grants = (
        Grant("a", 11_700, GrantReason.SHARED_LIMIT, Binding("c1", Phase.L2)),
        Grant("b", 16_000, GrantReason.OWN_MAXIMUM, None),
    )
    assert json.loads(json.dumps(answer(grants))) == {
        "grants": [
            {"id": "a", "limit_a": 11.7, "reason": "shared_limit", "limited_by": {"node": "c1", "phase": "L2"}},
            {"id": "b", "limit_a": 16.0, "reason": "own_maximum", "limited_by": None},
        ]
    }


def test_solved_problems_go_in_and_out_as_text() -> None:
    text = gzip.decompress((Path(__file__).parent / "vectors" / "problems-1-300.json.gz").read_bytes()).decode()
    for vector, solved in zip(json.loads(text), json.loads(solve_text(text)), strict=True):
        for demand, grant in zip(vector["demands"], solved["grants"], strict=True):
            assert grant["id"] == demand["id"]
            assert (grant["limit_a"] == 0) == (demand["optimum_a"] == 0)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "nodes", "demands", "groups", "limit_a", "L1", "min_a", "phases", "members"]), inner
        )
    ),
    max_leaves=12,
)


@given(values, st.sampled_from(["nodes", "demands", "groups", "strategy", "minimum_first"]))
def test_any_value_is_a_problem_or_is_refused_as_one(value: object, place: str) -> None:
    for data in (value, changed(lambda d: d.update({place: value})), changed(lambda d: d.update({place: [value]}))):
        with contextlib.suppress(ProblemError):
            assert isinstance(parse_problem(data), Problem)
