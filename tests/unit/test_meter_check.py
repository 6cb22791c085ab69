"""What a few readings tell of a meter."""

from __future__ import annotations

import attrs
import pytest

from llm_core import PHASES, CurrentTransformer, MeterFinding, MeterFound, MeterSampled, MeterSetup, Phase, check_meter

L1, L2, L3 = PHASES
SETUP = MeterSetup("site", "m", "h")
GOOD = MeterSampled("site", (10_000, 5_000, 0), 1, 1, (230_000, 231_000, 229_000), 3_400, 1_000)


def readings(sample: MeterSampled, *fingerprints: int) -> list[MeterSampled]:
    return [attrs.evolve(sample, fingerprint=fingerprint) for fingerprint in fingerprints or (1, 2, 3)]


def found(sample: MeterSampled, setup: MeterSetup = SETUP, phases: tuple[Phase, ...] = PHASES) -> list[MeterFound]:
    return list(check_meter(readings(sample), setup, phases).found)


def test_a_good_meter_is_good() -> None:
    test = check_meter(readings(GOOD), SETUP, PHASES, identified=True)
    assert test.is_good
    assert test.identified
    assert test.sample == readings(GOOD)[-1]
    assert test.silent_because is None


def test_silence_says_why_and_another_meter_is_no_silence() -> None:
    silent = check_meter([], SETUP, PHASES, silent_because="no connection")
    assert (silent.sample, silent.silent_because) == (None, "no connection")
    assert silent.found == (MeterFound(MeterFinding.SILENT),)
    assert check_meter([], SETUP, PHASES).silent_because == "no reading came"
    other = check_meter([], SETUP, PHASES, identified=False)
    assert other.found == (MeterFound(MeterFinding.ANOTHER_METER),)
    assert not other.is_good


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"current_ma": (10_000, None, 0), "power_w": None}, [MeterFound(MeterFinding.PHASE_MISSING, L2)]),
        ({"voltage_mv": (230_000, 400_000, 229_000)}, [MeterFound(MeterFinding.VOLTAGE, L2)]),
        ({"voltage_mv": (12_000, 231_000, 229_000), "power_w": None}, [MeterFound(MeterFinding.VOLTAGE, L1)]),
        ({"current_ma": (-5_000, 5_000, 5_000), "power_w": 1_150}, [MeterFound(MeterFinding.FEEDS_IN, L1)]),
        ({"current_ma": (-900, 5_000, 0), "power_w": 950}, []),
        ({"current_ma": (10_000, 5_000, 70_000), "power_w": 19_500}, [MeterFound(MeterFinding.ABOVE_DIRECT, L3)]),
        ({"power_w": 34_000}, [MeterFound(MeterFinding.POWER_DISAGREES)]),
        ({"power_w": 100}, [MeterFound(MeterFinding.POWER_DISAGREES)]),
        ({"power_w": -3_400, "current_ma": (-900, -900, -900)}, [MeterFound(MeterFinding.POWER_DISAGREES)]),
        ({"power_w": 30, "current_ma": (1_000, 500, 0)}, []),
        ({"power_w": 10, "current_ma": (10_000, -10_000, 0)}, [MeterFound(MeterFinding.FEEDS_IN, L2)]),
        ({"voltage_mv": (None, None, None), "power_w": 34_000}, []),
        ({"voltage_mv": (230_000, None, None), "power_w": 34_000}, []),
        ({"power_w": None}, []),
    ],
)
def test_what_cannot_be_is_named_with_its_phase(changes: dict[str, object], expected: list[MeterFound]) -> None:
    assert found(attrs.evolve(GOOD, **changes)) == expected  # type: ignore[arg-type]


def test_with_transformers_more_may_flow_than_through_a_meter() -> None:
    heavy = attrs.evolve(GOOD, current_ma=(100_000, 5_000, 0), power_w=24_000)
    assert found(heavy) == [MeterFound(MeterFinding.ABOVE_DIRECT, L1)]
    assert found(heavy, attrs.evolve(SETUP, ct=CurrentTransformer(200, 5))) == []


def test_a_phase_that_the_site_does_not_have_is_not_missed() -> None:
    one = attrs.evolve(GOOD, current_ma=(10_000, None, None), voltage_mv=(230_000, None, None), power_w=2_300)
    assert found(one, phases=(L1,)) == []
    assert found(one) == [MeterFound(MeterFinding.PHASE_MISSING, L2), MeterFound(MeterFinding.PHASE_MISSING, L3)]


def test_three_readings_alike_are_repeated_two_are_not() -> None:
    assert check_meter(readings(GOOD, 7, 7, 7), SETUP, PHASES).found == (MeterFound(MeterFinding.REPEATS),)
    assert check_meter(readings(GOOD, 7, 7), SETUP, PHASES).found == ()


def test_the_worst_comes_first() -> None:
    bad = attrs.evolve(GOOD, current_ma=(-5_000, None, 0), power_w=None)
    test = check_meter(readings(bad, 7, 7, 7), SETUP, PHASES, identified=False)
    assert [each.finding for each in test.found] == [
        MeterFinding.ANOTHER_METER,
        MeterFinding.PHASE_MISSING,
        MeterFinding.FEEDS_IN,
        MeterFinding.REPEATS,
    ]
