"""Meter models as data: read strictly, planned into whole reads, decoded exactly. The encoder here is our own."""

from __future__ import annotations

import math
import re
import struct
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_adapters.modbus.models import (
    Encoding,
    MeterModel,
    ModelError,
    NotAValue,
    Point,
    find_model,
    known_models,
    load_model,
)
from llm_adapters.modbus.reading import sample
from llm_core import CurrentTransformer, MeterSetup

FORMATS = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}
SETUP = MeterSetup("site", "m", "127.0.0.1")
PHASES = ("L1", "L2", "L3")


def encode(encoding: str, number: float, word_order: str = "big") -> list[int]:
    data = struct.pack(FORMATS[encoding], number)
    words = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
    return words if word_order == "big" else list(reversed(words))


def registers(model: MeterModel, numbers: dict[str, float]) -> dict[int, int]:
    """The raw numbers of the named points, laid out as the meter would."""
    words: dict[int, int] = {}
    for name, number in numbers.items():
        point = model.points[name]
        words.update(enumerate(encode(point.type.value, number, model.word_order), point.address))
    return words


def floats(**changes: object) -> MeterModel:
    """A made-up meter: float32, current from 0, power from 100."""
    points = {f"current_{phase}": Point(2 * n, Encoding.FLOAT32) for n, phase in enumerate(PHASES)}
    points |= {f"power_{phase}": Point(100 + 2 * n, Encoding.FLOAT32) for n, phase in enumerate(PHASES)}
    return attrs.evolve(MeterModel("m", "M", 4, "big", points), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("model_id", known_models())
def test_every_model_that_comes_along_can_measure_each_phase(model_id: str) -> None:
    model = find_model(model_id)
    assert {f"current_{phase}" for phase in PHASES} <= set(model.points)
    assert model.sign_from_power


@pytest.mark.parametrize("model_id", known_models())
def test_every_model_that_comes_along_reads_back_what_was_put_into_its_registers(model_id: str) -> None:
    model = find_model(model_id)
    amps = {"L1": 12, "L2": 7, "L3": 3}
    raw = {
        f"current_{phase}": Fraction(amps[phase]) / Fraction(model.points[f"current_{phase}"].scale) for phase in amps
    }
    raw |= {f"power_{phase}": Fraction(-460 if phase == "L2" else 230) for phase in amps}
    words = registers(model, {name: int(number) for name, number in raw.items()})
    assert sample(model, SETUP, words, 5).current_ma == (12_000, -7_000, 3_000)


def test_a_model_that_nobody_knows_is_refused_with_those_known() -> None:
    with pytest.raises(ModelError, match=r"eastron_sdm72d_m”.*eastron_sdm630"):
        find_model("eastron_sdm72d_m")


@pytest.mark.parametrize("path", ["../../secrets", "", "/etc/passwd"])
def test_a_model_id_is_no_path(path: str) -> None:
    with pytest.raises(ModelError):
        find_model(path)


GOOD = """id = "mine"
name = "Mine"
function_code = 3
word_order = "little"
sign_from_power = true

[points]
current_L1 = { address = 1, type = "int16", scale = 0.1 }
power_L1 = { address = 2, type = "int16" }
"""


def faults_of(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    try:
        load_model(path)
    except ModelError as error:
        return error.faults
    return ()


def test_the_good_model_is_good(tmp_path: Path) -> None:
    assert faults_of(tmp_path, GOOD) == ()


@pytest.mark.parametrize(
    ("good", "bad", "line"),
    [
        ('"mine"', '"yours"', 1),
        ("code = 3", "code = 6", 3),
        ("code = 3", "code = 3.0", 3),
        ('"little"', '"middle"', 4),
        ("true", "1", 5),
        ("address = 1,", "address = 70000,", 8),
        ("address = 1,", "address = -1,", 8),
        ("address = 1,", 'address = "1",', 8),
        ("address = 1,", "adress = 1,", 8),
        ('"int16", scale', '"int24", scale', 8),
        ("scale = 0.1", "scale = 0.0", 8),
        ("scale = 0.1", "scale = nan", 8),
        ("scale = 0.1", "scale = true", 8),
        ("current_L1", "current_N", 8),
        ("power_L1 = {", "power_L2 = {", 8),
        ("power_L1 = {", "power_L1 = ", None),
        ("sign_from", "max_registers = 500\nsign_from", 5),
        ("sign_from", "pause_ms = 5000\nsign_from", 5),
        ("sign_from", "max_gap = -1\nsign_from", 5),
        ("sign_from", "colour = 5\nsign_from", None),
        ("[points]", '[identify]\naddress = 1\ntype = "int16"\nvalues = []\n[points]', 7),
        ("[points]", '[[not_a_value]]\ntype = "int16"\nleast = 2\nmost = 1\n[points]', 7),
        ("[points]", '[[not_a_value]]\ntype = "float32"\nleast = 2\nmost = 2\n[points]', 7),
    ],
)
def test_a_faulty_model_is_refused_at_its_line(tmp_path: Path, good: str, bad: str, line: int | None) -> None:
    faults = faults_of(tmp_path, GOOD.replace(good, bad, 1))
    assert faults
    assert all(fault.startswith("mine.toml") for fault in faults)
    if line is not None:
        assert any(re.match(rf"mine\.toml:{line}: ", fault) for fault in faults), faults


def test_every_fault_is_told_not_the_first_only(tmp_path: Path) -> None:
    text = GOOD.replace("code = 3", "code = 9").replace("address = 1,", "address = 99999,")
    assert len(faults_of(tmp_path, text)) == 2


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from(Encoding)), min_size=1, max_size=8, unique_by=lambda p: p[0]
    ),
    st.integers(4, 125),
    st.integers(0, 20),
)
def test_a_planned_read_takes_every_value_whole_and_wastes_no_long_gap(
    places: list[tuple[int, Encoding]], longest: int, gap: int
) -> None:
    names = [f"{kind}_{phase}" for kind in ("current", "voltage", "power") for phase in PHASES]
    points: dict[str, Point] = {}
    end = 0
    for name, (offset, encoding) in zip(names, sorted(places), strict=False):
        points[name] = Point(end + offset, encoding)
        end = points[name].end
    model = MeterModel("m", "M", 3, "big", points, max_registers=longest, max_gap=gap)
    blocks = [(block.address, block.address + block.count) for block in model.blocks()]
    owners = [[b for b in blocks if b[0] <= p.address and p.end <= b[1]] for p in points.values()]
    assert all(len(owner) == 1 for owner in owners)
    assert {b[0] for b in blocks} <= {p.address for p in points.values()}
    assert {b[1] for b in blocks} <= {p.end for p in points.values()}
    assert all(b[1] - b[0] <= longest for b in blocks)
    wanted = {address for point in points.values() for address in range(point.address, point.end)}
    for start, stop in blocks:
        read_over = "".join("x" if address in wanted else "." for address in range(start, stop))
        assert max((len(run) for run in re.findall(r"\.+", read_over)), default=0) <= gap


@given(st.sampled_from(sorted(FORMATS)), st.sampled_from(["big", "little"]), st.data())
def test_every_encoding_is_decoded_exactly(name: str, order: str, data: st.DataObject) -> None:
    bits = Encoding(name).words * 16
    if name.startswith("float"):
        number: float = data.draw(st.floats(width=32 if bits == 32 else 64, allow_nan=False, allow_infinity=False))
    else:
        low = 0 if name.startswith("u") else -(2 ** (bits - 1))
        number = data.draw(st.integers(low, low + 2**bits - 1))
    model = floats(word_order=order)
    point = Point(0, Encoding(name), Decimal("0.01"))
    value = model.value(point, tuple(encode(name, number, order)))
    assert value is not None
    if not name.startswith("float"):
        assert value == Decimal(int(number)) * Decimal("0.01")
    else:
        assert math.isclose(value, Decimal(number) / 100, rel_tol=1e-20, abs_tol=0)


@given(st.floats(-300, 300, width=32), st.floats(-70_000, 70_000, width=32))
def test_a_draw_never_shrinks_and_export_is_never_exaggerated(amps: float, watts: float) -> None:
    reading = sample(floats(sign_from_power=True), SETUP, words_of(amps, watts), 0).current_ma[0]
    exact = Fraction(abs(amps)) * (-1000 if watts < 0 else 1000)
    assert reading is not None
    assert exact <= reading < exact + 1


def words_of(amps: float, watts: float) -> dict[int, int]:
    return registers(floats(), {"current_L1": amps, "power_L1": watts})


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf, 10_000.5, -1e30])
def test_a_phase_that_cannot_be_believed_is_missing_and_the_others_are_not(broken: float) -> None:
    words = registers(floats(), {"current_L1": 1.0, "current_L2": broken, "current_L3": 3.0})
    assert sample(floats(), SETUP, words, 0).current_ma == (1_000, None, 3_000)


def test_a_phase_that_is_not_in_the_registers_is_missing() -> None:
    assert sample(floats(), SETUP, registers(floats(), {"current_L1": 1.0}), 0).current_ma == (1_000, None, None)


@pytest.mark.parametrize("invert", [False, True])
def test_a_current_of_unknown_direction_counts_as_a_draw(invert: bool) -> None:
    setup = attrs.evolve(SETUP, invert=invert)
    words = registers(floats(), {"current_L1": 8.0, "power_L1": math.nan})
    assert sample(floats(sign_from_power=True), setup, words, 0).current_ma[0] == 8_000


def test_an_inverted_meter_turns_draw_into_export() -> None:
    setup = attrs.evolve(SETUP, invert=True)
    assert sample(floats(sign_from_power=True), setup, words_of(8.0, 1_800.0), 0).current_ma[0] == -8_000
    assert sample(floats(sign_from_power=True), setup, words_of(8.0, -1_800.0), 0).current_ma[0] == 8_000
    assert sample(floats(), setup, words_of(8.0, 0.0), 0).current_ma[0] == -8_000


@pytest.mark.parametrize(("applied_by", "expected"), [("manager", 120_000), ("meter", 3_000)])
def test_the_transformer_ratio_counts_only_where_the_meter_does_not_know_it(applied_by: str, expected: int) -> None:
    setup = attrs.evolve(SETUP, ct=CurrentTransformer(200, 5, applied_by))
    assert sample(floats(), setup, words_of(3.0, 0.0), 0).current_ma[0] == expected


def test_what_the_meter_calls_not_a_value_is_none() -> None:
    model = attrs.evolve(
        floats(),
        points={"current_L1": Point(0, Encoding.UINT32, Decimal("0.01")), "current_L2": Point(2, Encoding.INT32)},
        not_a_value=(NotAValue(Encoding.UINT32, 0xFFFFFFFF, 0xFFFFFFFF),),
    )
    words = {**dict(enumerate(encode("uint32", 0xFFFFFFFF))), **dict(enumerate(encode("int32", -1), 2))}
    assert sample(model, SETUP, words, 0).current_ma == (None, -1_000, None)


def test_an_overflow_word_of_a_low_word_first_meter_is_none() -> None:
    words = registers(find_model("cg_em340"), {"current_L1": 0x7FFF0005, "current_L2": 5_000, "power_L2": 10})
    assert sample(find_model("cg_em340"), SETUP, words, 0).current_ma == (None, 5_000, None)


def test_any_register_that_changes_changes_the_fingerprint() -> None:
    steady = sample(floats(), SETUP, words_of(3.0, 5.0), 1)
    assert steady.fingerprint == sample(floats(), SETUP, words_of(3.0, 5.0), 2).fingerprint
    assert steady.fingerprint != sample(floats(), SETUP, words_of(3.0, 5.5), 2).fingerprint


def test_the_other_quantities_come_in_the_units_of_the_core() -> None:
    model = find_model("eastron_sdm630")
    numbers = {"current_L1": 1.0, "voltage_L1": 230.5, "voltage_L2": 5_000.0, "power": -1_500.0, "energy_import": 12.5}
    reading = sample(model, SETUP, registers(model, numbers), 9)
    assert (reading.node, reading.taken_ms) == ("site", 9)
    assert reading.voltage_mv == (230_500, None, None)
    assert reading.power_w == -1_500
    assert reading.energy_import_wh == 12_500
