"""Meter models as data: read strictly, planned into whole reads, decoded exactly. The encoder here is our own."""

from __future__ import annotations

import math
import re
import struct
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import EntryPoint
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_adapters.modbus.catalogue import Catalogue
from llm_adapters.modbus.model_files import load_model
from llm_adapters.modbus.models import (
    Encoding,
    MeterModel,
    ModelError,
    NotAValue,
    Point,
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
CATALOGUE = Catalogue(plugins=())
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


@pytest.mark.parametrize("model_id", CATALOGUE)
def test_every_model_that_comes_along_can_measure_each_phase(model_id: str) -> None:
    model = CATALOGUE.find(model_id)
    assert {f"current_{phase}" for phase in PHASES[: model.phases]} <= set(model.points)
    assert model.sign_from_power or (model.doubt and not any(name.startswith("power_") for name in model.points))
    assert model.ports


def test_what_comes_along_has_no_fault_and_is_each_there_once() -> None:
    assert CATALOGUE.faults == ()
    assert list(CATALOGUE) == sorted(set(CATALOGUE))
    assert len(CATALOGUE) == len(list(CATALOGUE)) == 23


def test_a_model_that_nobody_knows_is_refused_with_those_known() -> None:
    with pytest.raises(ModelError, match=r"sum of the phases only"):
        CATALOGUE.find("eastron_sdm72d_m")


@pytest.mark.parametrize("path", ["../../secrets", "", "/etc/passwd"])
def test_a_model_id_is_no_path(path: str) -> None:
    with pytest.raises(ModelError):
        CATALOGUE.find(path)


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
        ("[points]", "[identify]\naddress = 1\ncount = 4\ntexts = []\n[points]", 7),
        ("[points]", '[identify]\naddress = 1\ncount = 4\ntype = "int16"\nvalues = [1]\ntexts = ["A"]\n[points]', 7),
        ("[points]", '[identify]\naddress = 1\ntype = "float32"\nvalues = [1]\n[points]', 7),
        ("[points]", '[identify]\naddress = 65535\ncount = 4\ntexts = ["A"]\n[points]', 7),
        ("[points]", '[identify]\naddress = 1\nfunction_code = 6\ntype = "int16"\nvalues = [1]\n[points]', 7),
        ("[points]", "[sunspec]\nmodel = 0\nlength = 3\n[points]", 7),
        ('"int16", scale = 0.1', '"int16", scale_factor = 70000', 8),
        (
            "power_L1 = {",
            'current_L2 = { address = 1, type = "int16" }\npower_L2 = { address = 7, type = "int16" }\npower_L1 = {',
            9,
        ),
        ("sign_from", 'ports = ["usb"]\nsign_from', 5),
        ("sign_from", "unit = 300\nsign_from", 5),
        ("sign_from", "phases = 4\nsign_from", 5),
        ('name = "Mine"', 'name = "Mine', 2),
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
    words = registers(CATALOGUE.find("cg_em340"), {"current_L1": 0x7FFF0005, "current_L2": 5_000, "power_L2": 10})
    assert sample(CATALOGUE.find("cg_em340"), SETUP, words, 0).current_ma == (None, 5_000, None)


def test_any_register_that_changes_changes_the_fingerprint() -> None:
    steady = sample(floats(), SETUP, words_of(3.0, 5.0), 1)
    assert steady.fingerprint == sample(floats(), SETUP, words_of(3.0, 5.0), 2).fingerprint
    assert steady.fingerprint != sample(floats(), SETUP, words_of(3.0, 5.5), 2).fingerprint


def test_the_other_quantities_come_in_the_units_of_the_core() -> None:
    model = CATALOGUE.find("eastron_sdm630")
    numbers = {"current_L1": 1.0, "voltage_L1": 230.5, "voltage_L2": 5_000.0, "power": -1_500.0, "energy_import": 12.5}
    reading = sample(model, SETUP, registers(model, numbers), 9)
    assert (reading.node, reading.taken_ms) == ("site", 9)
    assert reading.voltage_mv == (230_500, None, None)
    assert reading.power_w == -1_500
    assert reading.energy_import_wh == 12_500


def test_a_scale_factor_shifts_the_decimal_point_and_one_that_is_none_leaves_no_value() -> None:
    point = Point(0, Encoding.INT16, scale_factor=9)
    model = floats()
    assert model.value(point, (2301,), 0xFFFF) == Decimal("230.1")  # -1
    assert model.value(point, (23,), 2) == 2_300
    assert model.value(point, (23,), 0x8000) is None
    assert model.value(point, (23,), None) is None


def test_a_scale_factor_is_read_with_its_value_and_needed_where_the_current_hangs_on_it() -> None:
    points = {
        "current_L1": Point(0, Encoding.INT16, scale_factor=100),
        "voltage_L1": Point(1, Encoding.INT16, scale_factor=200),
    }
    blocks = MeterModel("m", "M", 3, "big", points).blocks()
    assert [(block.address, block.count, block.needed) for block in blocks] == [
        (0, 2, True),
        (100, 1, True),
        (200, 1, False),
    ]


def test_the_frequency_costs_no_read_of_its_own() -> None:
    near = attrs.evolve(floats(), points={**floats().points, "frequency": Point(4, Encoding.INT16)})
    far = attrs.evolve(floats(), points={**floats().points, "frequency": Point(400, Encoding.INT16)})
    assert near.blocks() == far.blocks() == floats().blocks()


def test_an_inverted_meter_swaps_what_was_drawn_with_what_was_fed_in() -> None:
    model = CATALOGUE.find("eastron_sdm630")
    words = registers(model, {"current_L1": 1.0, "energy_import": 5.0, "energy_export": 2.0, "frequency": 49.5})
    plain, inverted = (sample(model, attrs.evolve(SETUP, invert=invert), words, 0) for invert in (False, True))
    assert (plain.energy_import_wh, plain.energy_export_wh) == (5_000, 2_000)
    assert (inverted.energy_import_wh, inverted.energy_export_wh) == (2_000, 5_000)
    assert plain.frequency_mhz == 49_500


def test_ten_times_the_frequency_is_none() -> None:
    model = CATALOGUE.find("eastron_sdm630")
    assert sample(model, SETUP, registers(model, {"current_L1": 1.0, "frequency": 500.0}), 0).frequency_mhz is None


# Models of a vendor


def test_a_vendor_adds_a_model_by_a_file_in_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "meters").mkdir()
    (tmp_path / "meters" / "mine.toml").write_text(GOOD)
    catalogue = Catalogue(tmp_path, plugins=())
    assert catalogue.faults == ()
    assert "mine" in catalogue
    assert catalogue.find("mine").name == "Mine"
    assert catalogue.why_not("mine") is None
    assert "mine" in (catalogue.why_not("yours") or "")


def test_a_broken_file_is_told_with_its_line_and_takes_nothing_else_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "meters"
    folder.mkdir()
    (folder / "mine.toml").write_text(GOOD)
    (folder / "bad.toml").write_text(GOOD.replace('"mine"', '"bad"').replace("address = 2,", "address = -2,"))
    (folder / "latin.toml").write_bytes(b'id = "latin"\nname = "Z\xe4hler"\n')
    (folder / "huge.toml").write_bytes(b"#" * 200_000)
    (folder / "eastron_sdm630.toml").write_text(GOOD.replace('"mine"', '"eastron_sdm630"'))
    (folder / "gone.toml").symlink_to(tmp_path / "nowhere")
    catalogue = Catalogue(tmp_path, plugins=())
    assert "mine" in catalogue
    assert len(catalogue) == 24
    places = [fault.removeprefix(f"{folder}/") for fault in catalogue.faults]
    assert [place.split(": ")[0] for place in places] == [
        "bad.toml:9",
        "eastron_sdm630.toml",
        "gone.toml",
        "huge.toml",
        "latin.toml:2",
    ]


def test_a_package_brings_files_or_code_and_a_broken_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    (tmp_path / "vendor_of_meters.py").write_text(
        f"FILE = {str(tmp_path / 'mine.toml')!r}\ndef make(setup, clock): return (setup, clock)\nNOTHING = 7\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugins = [
        EntryPoint(name, f"vendor_of_meters:{attribute}", "local_load_manager.meters")
        for name, attribute in (("file", "FILE"), ("coded", "make"), ("odd", "NOTHING"), ("gone", "MISSING"))
    ]
    catalogue = Catalogue(plugins=plugins)
    assert {"mine", "coded"} <= set(catalogue)
    maker = catalogue.maker("coded")
    assert maker is not None
    assert maker.__name__ == "make"
    assert catalogue.maker("mine") is None
    with pytest.raises(ModelError, match="own code"):
        catalogue.find("coded")
    assert [fault.split(":")[0] for fault in catalogue.faults] == ["entry point odd", "entry point gone"]


def test_the_example_in_the_reference_is_a_model(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "meter-models.md"
    first = page.read_text("utf-8").split("```toml\n")[1].split("```")[0]
    path = tmp_path / "acme_m3.toml"
    path.write_text(first)
    assert load_model(path).name == "Acme M3"
