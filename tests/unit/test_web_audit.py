"""The audit trail in words: every setting of the core has a name, every value is said, nothing is evaluated or lost."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import attrs
import pytest

import llm_core
from llm_adapters.web.audit import AuditRow, audit_row
from llm_adapters.web.audit_words import CHANGES, SETTINGS
from llm_adapters.web.languages import LANGUAGES
from llm_adapters.web.words import Words
from llm_adapters.web.written import Thing, UnwrittenError, read_back
from llm_core import (
    AccessRule,
    AuditEntry,
    Badge,
    BadgeState,
    Cluster,
    Concurrency,
    CurrentTransformer,
    ExternalLimit,
    MeterSetup,
    Mode,
    Order,
    PerPhase,
    Phase,
    PutAccess,
    PutClusters,
    PutStation,
    PutStations,
    RemoveStation,
    Role,
    Site,
    SiteEdited,
    Station,
    Supply,
    System,
    Wish,
)

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
ENGLISH, GERMAN = Words("en", "Europe/Amsterdam"), Words("de", "Europe/Berlin")
SITE = Site(stations=(Station("ST1", "Bay 1"), Station("ST1 B", "Bay 2")), clusters=(Cluster("c2", "West"),))


def row(what: str, old: object = "", new: object = "", words: Words = ENGLISH) -> AuditRow:
    texts = [value if isinstance(value, str) else repr(value) for value in (old, new)]
    return audit_row(AuditEntry(NOON, "administrator", what, *texts), words, SITE)


def edited(edit: Any, site: Site) -> AuditRow:
    """The row of a change as the core itself writes it down."""
    state = llm_core.State(site=site)
    step = llm_core.step(state, SiteEdited("administrator", edit), llm_core.Now(0, NOON))
    [entry] = [e.record for e in step.effects if isinstance(e, llm_core.Save) and isinstance(e.record, AuditEntry)]
    return audit_row(entry, ENGLISH, step.state.site)


# Everything has a name


def test_every_setting_that_the_core_audits_has_a_name() -> None:
    for kind, names in SETTINGS.items():
        if kind != "PutAccess":
            assert set(names) == {field.name for field in attrs.fields(getattr(llm_core, kind))}, kind


def test_every_change_has_a_title_in_every_language() -> None:
    edits = {edit.__name__ for edit in llm_core.SiteEdit.__args__}  # type: ignore[attr-defined]
    assert {*edits, *Order} <= set(CHANGES)
    alike = [title for title in set(CHANGES.values()) for lang in LANGUAGES if Words(lang, "UTC")(title) == title]
    assert len(alike) < 2 * len(set(CHANGES.values()))  # some words are the same everywhere, most are not


# Reading back


@pytest.mark.parametrize(
    "value",
    [
        Site(supply=Supply(Mode.DYNAMIC), meters=(MeterSetup("site", "m", ct=CurrentTransformer(200, 5)),)),
        Badge("A:1", BadgeState.ACTIVE, comment='"it\'s" <b>', expires_on=date(2030, 1, 31), stations=frozenset({"x"})),
        ExternalLimit("1", limit_ma=PerPhase(-1, 2, 3), ends_at=NOON),
        System("<Mode.STATIC: 'x'>"),
    ],
)
def test_what_the_core_writes_is_read_back(value: Any) -> None:
    read = read_back(repr(value))
    assert isinstance(read, Thing)
    assert set(read.parts) == {field.name for field in attrs.fields(type(value))}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Supply(",
        "__import__('os').system('true')",
        "(lambda: 1)()",
        "Supply(*[1])",
        "1 + 1",
        "x" * 200_001,
        "(" * 5_000,
        "datetime.datetime('x')",
        "frozenset(1, 2)",
    ],
)
def test_what_is_no_value_is_never_run(text: str) -> None:
    with pytest.raises(UnwrittenError):
        read_back(text)


# Said


def test_a_change_of_the_supply_names_what_differs_with_its_unit() -> None:
    before = Supply(Mode.STATIC, static_max_ma=PerPhase.same(40_000))
    after = attrs.evolve(before, mode=Mode.DYNAMIC, derated_ma=PerPhase(50_400, 40_000, 50_400), lease_s=60)
    told = row("PutSupply", before, after)
    assert (told.what, told.subject) == ("Supply", "")
    assert told.parts == (
        ("How the current is managed", "Static", "Dynamic"),
        ("Derated current", "50.4 A", "50.4 / 40 / 50.4 A"),
        ("A limit holds by itself for", "–", "60 s"),
    )
    assert row("PutSupply", before, after, GERMAN).parts[1][2] == "50,4 / 40 / 50,4 A"


def test_a_new_badge_tells_only_what_says_something() -> None:
    told = row("badge", "", Badge("A1B2C3", comment="Müller", expires_on=date(2030, 1, 31)))
    assert told.subject == "A1B2C3 · Müller"
    assert ("Valid to the end of", "", "31 Jan 2030") in told.parts
    assert not [part for part in told.parts if part[0] in ("E-mail", "Group")]


def test_a_badge_that_is_gone_is_named() -> None:
    told = row("badge", Badge("A1B2C3", comment="Müller"), "")
    assert (told.subject, told.parts) == ("A1B2C3 · Müller", (("", "", "removed"),))


def test_a_badge_that_was_found_tells_where() -> None:
    told = row("badge", "", f"{Badge('04A2', state=BadgeState.PENDING)!r} found at ST1")
    assert told.parts[-1] == ("Found at", "", "Bay 1")


def test_stations_and_clusters_are_told_one_by_one_by_their_names() -> None:
    site = Site(
        supply=Supply(static_max_ma=PerPhase.same(40_000)), stations=(Station("ST1", "Bay 1"), Station("ST2", "Bay 2"))
    )
    both = tuple(attrs.evolve(station, max_ma=32_000, badges=frozenset({"B", "A"})) for station in site.stations)
    assert edited(PutStations(both), site).parts == (
        ("Bay 1 · Most current", "16 A", "32 A"),
        ("Bay 1 · Badges", "all", "A, B"),
        ("Bay 2 · Most current", "16 A", "32 A"),
        ("Bay 2 · Badges", "all", "A, B"),
    )
    one = attrs.evolve(site.stations[0], cluster=None, phase_rotation=(Phase.L2,))
    told = edited(PutStation(one), site)
    assert told.subject == "Bay 1"
    assert told.parts == (("Cluster", "Cluster #1", "Whole building"), ("Phase order", "L1 L2 L3", "L2"))
    clusters = (*site.clusters, Cluster("c2", "West", "default", PerPhase.same(20_000)))
    assert ("West · Limit", "", "20 A") in edited(PutClusters(clusters), site).parts
    assert edited(RemoveStation("ST2"), site).parts == (("", "", "removed"),)


def test_who_may_charge_is_told_in_words() -> None:
    rules = llm_core.BadgeRules(Concurrency.REFUSED)
    told = edited(PutAccess(AccessRule.FREE, rules), Site())
    assert told.parts == (
        ("Who may charge", "Badge required", "Free access"),
        ("May a badge charge twice at once?", "Yes, as often as it likes", "No, at one station at a time"),
    )


def test_a_whole_configuration_is_told_part_by_part() -> None:
    text = f"system={System('Old')!r}; access={AccessRule.BADGE!r}"
    told = row("configuration", text, text.replace("Old", "New").replace("badge", "free"))
    assert ("Name of this site", "Old", "New") in told.parts
    assert ("Who may charge", "Badge required", "Free access") in told.parts


def test_limits_and_wishes_are_told_with_their_units() -> None:
    limit = ExternalLimit("7", "c2", limit_w=4_200, ends_at=NOON, reason="§ 14a")
    told = row("limit", "", limit)
    assert told.subject == "West"
    assert ("Power left", "", "4.2 kW") in told.parts
    assert ("Until", "", "1 Jul 2026 14:00") in told.parts
    wish = row("wish", "None", Wish(NOON, 22_500))
    assert wish.parts == (("Leaves at", "", "1 Jul 2026 14:00"), ("Energy wanted", "", "22.5 kWh"))


def test_orders_tell_their_station_and_how_they_ended() -> None:
    assert row("reset", "ST1 soft", "Accepted").subject == "Bay 1"
    assert row("reset", "ST1 soft", "Accepted").parts == (("soft", "", "accepted"),)
    assert row("unlock", "ST1 B/2", "offline").subject == "Bay 2 · 2"
    assert row("unlock", "ST1 B/2", "offline").parts[0][2] == "The station is not connected."
    assert row("remote-start", "GONE/1", "occupied").subject == "GONE · 1"


def test_a_commissioning_test_tells_each_trial() -> None:
    told = row("commission", "ST1", "amps yes, watts no")
    assert told.subject == "Bay 1"
    assert told.parts == (("Takes limits in amps", "", "yes"), ("Takes limits in watts", "", "no"))
    assert row("commission", "ST1", "the station is gone", GERMAN).parts == (("", "", "die Station ist weg"),)


def test_accounts_and_searches_are_told() -> None:
    assert row("role of Eva", Role.STANDARD.value, Role.ADVANCED.value).parts == (
        ("", "Standard user", "Advanced user"),
    )
    assert row("user Eva", "standard", "").parts == (("", "Standard user", "removed"),)
    assert row("password of Eva", "", "temporary").subject == "Eva"
    assert row("station scan", "", "180 s").parts == (("", "", "180 s"),)
    assert row("badge scan", "", "ST1, 60 s").subject == "Bay 1"
    assert row("badge scan", "", "all stations, 60 s").subject == "All stations"
    assert row("station password", "ST1", "set").parts == (("", "", "set"),)


def test_what_nobody_knows_stays_as_it_was_written() -> None:
    told = row("something new", "a<b", "c" * 500)
    assert told.what == "something new"
    assert told.parts == (("", "a<b", "c" * 200 + "…"),)


def test_a_long_list_is_cut_and_says_so() -> None:
    stations = tuple(Station(f"ST{n}", f"Bay {n}") for n in range(20))
    site = Site(supply=Supply(static_max_ma=PerPhase.same(400_000), fuse_ma=PerPhase.same(400_000)), stations=stations)
    told = edited(PutStations(tuple(attrs.evolve(station, max_ma=20_000) for station in stations)), site)
    assert (len(told.parts), told.more) == (12, 8)
