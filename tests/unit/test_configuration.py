"""A configuration survives its export and import unchanged, and a wrong one is named fault by fault."""

from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_adapters.web.api.configuration import Configuration, read_configuration, write_configuration
from llm_adapters.web.api.exact import Malformed, Wrong, load
from llm_core import (
    PHASES,
    AccessRule,
    Badge,
    BadgeState,
    BadgeType,
    Cluster,
    CurrentTransformer,
    Dashboard,
    Fault,
    MeterSetup,
    Mode,
    PerPhase,
    Phase,
    Role,
    Sharing,
    Site,
    Station,
    Strategy,
    Supply,
    System,
    User,
)

AMPS_MA = st.integers(0, 6_300_000)
NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
IDS = st.text("abcdefABCDEF0123456789:-_.", min_size=1, max_size=20)


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    """Any configuration that can be written down; the core need not accept it."""
    phases = draw(st.sampled_from([1, 3]))
    per_phase = st.builds(PerPhase, AMPS_MA, *([AMPS_MA, AMPS_MA] if phases == 3 else [st.just(0), st.just(0)]))
    supply = st.builds(
        Supply,
        st.sampled_from(Mode),
        st.just(phases),
        per_phase,
        per_phase,
        per_phase,
        per_phase,
        st.none() | st.just(60),
    )
    rotation = st.permutations(PHASES[:phases]).map(tuple) | st.sampled_from(PHASES).map(lambda phase: (phase,))
    station = st.builds(
        Station,
        IDS,
        NAMES,
        st.none() | IDS,
        rotation,
        AMPS_MA,
        AMPS_MA,
        st.none() | AMPS_MA,
        AMPS_MA,
        st.integers(-1000, 1000),
        st.none() | AMPS_MA,
        st.booleans(),
        st.none() | st.frozensets(IDS, max_size=3),
    )
    ratio = st.builds(CurrentTransformer, st.integers(75, 6000), st.sampled_from([1, 5]), st.just("manager"))
    meter = st.builds(
        MeterSetup,
        IDS,
        IDS,
        NAMES,
        st.integers(1, 65_535),
        st.integers(0, 255),
        st.just("tcp"),
        st.booleans(),
        st.none() | ratio,
    )
    badge = st.builds(
        Badge,
        st.text("abcdef0123456789", min_size=1, max_size=20),
        st.sampled_from(BadgeType),
        st.sampled_from(BadgeState),
        st.none() | NAMES,
        NAMES,
        st.just("") | st.just("a@example.org"),
        st.none() | st.dates(date(2000, 1, 1)),
        st.none() | st.frozensets(IDS, max_size=3),
    )
    site = Site(
        system=draw(
            st.builds(System, NAMES, NAMES, st.just("Asia/Kathmandu"), st.just("de"), st.sampled_from(Dashboard))
        ),
        supply=draw(supply),
        clusters=tuple(
            draw(st.lists(st.builds(Cluster, IDS, NAMES, st.none() | IDS, st.none() | per_phase), max_size=3))
        ),
        stations=tuple(draw(st.lists(station, max_size=3))),
        meters=tuple(draw(st.lists(meter, max_size=2))),
        sharing=draw(
            st.builds(Sharing, st.sampled_from(Strategy), st.booleans(), st.integers(1, 1440), st.none() | AMPS_MA)
        ),
        access=draw(st.sampled_from(AccessRule)),
    )
    users = st.builds(User, NAMES, st.sampled_from(Role))
    return Configuration.of(site, tuple(draw(st.lists(badge, max_size=3))), tuple(draw(st.lists(users, max_size=2))))


EMPTY = Configuration.of(Site())


@given(configurations())
def test_what_was_exported_is_imported_unchanged(configuration: Configuration) -> None:
    document = json.dumps(write_configuration(configuration)).encode()
    assert read_configuration(load(document), EMPTY) == configuration


def test_parts_that_are_left_out_stay_as_they_are() -> None:
    base = Configuration.of(Site(stations=(Station("ST1"),), access=AccessRule.FREE), (Badge("a1"),))
    assert read_configuration({}, base) == base
    assert read_configuration({"badges": []}, base) == Configuration.of(base.site)


def test_no_secret_is_exported() -> None:
    document = write_configuration(
        Configuration.of(Site(stations=(Station("ST1"),)), (), (User("eva", Role.ADVANCED),))
    )
    assert document["users"] == [{"name": "eva", "role": "advanced"}]
    assert isinstance(document["stations"], list)
    station = document["stations"][0]
    assert isinstance(station, dict)
    assert station["password"] is None


def test_a_station_of_a_single_phase_site_is_wired_to_its_phase() -> None:
    read = read_configuration({"supply": {"phases": 1}, "stations": [{"id": "ST1"}]}, EMPTY)
    assert read.stations[0].phase_rotation == (Phase.L1,)
    assert read.supply.derated_ma == PerPhase(50_400, 0, 0)


@pytest.mark.parametrize(
    ("document", "pointers"),
    [
        ({"supply": {"fuse_a": "x"}, "stations": [{}], "extra": 1}, ["/extra", "/supply/fuse_a", "/stations/0/id"]),
        ({"clusters": [{"id": "a", "limit_a": {"L1": 1}}]}, ["/clusters/0/limit_a/L2", "/clusters/0/limit_a/L3"]),
        ({"meters": [{"model": "guess", "host": "h"}]}, ["/meters/0/model"]),
        ({"users": [{"name": "x", "role": "root"}]}, ["/users/0/role"]),
        ({"access": "free"}, ["/access"]),
        ([], [""]),
    ],
)
def test_every_fault_is_named_with_its_place(document: object, pointers: list[str]) -> None:
    with pytest.raises(Wrong) as caught:
        read_configuration(document, EMPTY, ("eastron_sdm630",))
    assert [fault.pointer for fault in caught.value.faults] == pointers


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
PARTS = ("system", "supply", "clusters", "meters", "stations", "strategy", "access", "badges", "users")


@given(
    st.dictionaries(st.sampled_from(PARTS), JSON | st.lists(st.dictionaries(st.sampled_from(["id", "limit_a"]), JSON)))
)
def test_any_document_is_read_or_refused_and_never_a_crash(document: dict[str, object]) -> None:
    assert isinstance(outcome(json.dumps(document).encode()), Configuration | tuple)


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused_and_never_a_crash(data: bytes) -> None:
    assert isinstance(outcome(data), Configuration | tuple)


def outcome(data: bytes) -> Configuration | tuple[Fault, ...]:
    """What comes of a document; any other exception than a refusal ends the test."""
    try:
        return read_configuration(load(data), EMPTY)
    except Wrong as wrong:
        return wrong.faults
    except Malformed as malformed:
        return (*malformed.faults, Fault("", str(malformed)))
