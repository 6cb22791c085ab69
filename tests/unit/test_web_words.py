"""What people read: every fact of the core has words, in every language, and numbers look as they should."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract
from starlette.datastructures import QueryParams

import llm_core
from llm_adapters.web import station_notes as notes_module
from llm_adapters.web import words as words_module
from llm_adapters.web.alarm_links import alarm_link
from llm_adapters.web.bars import node_bars
from llm_adapters.web.languages import LANGUAGES, choose_language
from llm_adapters.web.orders import TOLD
from llm_adapters.web.rows import Listing, cut
from llm_adapters.web.words import ALARMS, KINDS, REASONS, STATUSES, Words
from llm_core import (
    AccessRule,
    Alarm,
    AlarmCode,
    BadgeState,
    BadgeType,
    Binding,
    CallFailure,
    Cluster,
    ConnectorView,
    Dashboard,
    ExternalLimit,
    Finding,
    GrantReason,
    LimitRecord,
    LimitState,
    Mode,
    NodeView,
    OfflinePolicy,
    OrderFault,
    PasswordRule,
    PerPhase,
    Phase,
    Presence,
    ReportKind,
    Role,
    SessionView,
    Site,
    State,
    Station,
    StationNote,
    StationState,
    StationView,
    Status,
    Strategy,
    Supply,
    Trial,
    TurnedAwayFor,
    UplinkState,
    Verdict,
)

WEB = Path(words_module.__file__).parent
SRC = Path(llm_core.__file__).parent
NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
ENGLISH = Words("en", "Europe/Amsterdam")
GERMAN = Words("de", "Europe/Berlin")
SITE = Site(stations=(Station("ST1", "Bay 1"), Station("ST2")), clusters=(Cluster("default", "Cluster #1"),))
BAY_1 = StationView("ST1", "Bay 1", Presence.ONLINE, 1_000, "", "", "", "", "", "default", ())
SESSION = SessionView(1, "A1", "Müller", NOON, 7_420, 4_140_000, 180_000)


def connector(reason: GrantReason | None, **changes: Any) -> ConnectorView:
    view = ConnectorView(1, Status.CHARGING, 10_200, reason, None, None, 0, PerPhase(9_800, 0, 0), SESSION)
    return attrs.evolve(view, **changes)


def why(view: ConnectorView | None, station: StationView = BAY_1, state: State | None = None) -> str:
    return ENGLISH.why(state or State(site=SITE), station, view, NOON)


# Every fact has words


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (STATUSES, Status),
        (KINDS, Status),
        (REASONS, GrantReason),
        (ALARMS, AlarmCode),
        (words_module.PRESENCES, Presence),
        (words_module.MODES, Mode),
        (words_module.MODE_HELP, Mode),
        (words_module.STRATEGIES, Strategy),
        (words_module.STRATEGY_HELP, Strategy),
        (words_module.ACCESS_HELP, AccessRule),
        (words_module.DASHBOARD_HELP, Dashboard),
        (words_module.ROLE_HELP, Role),
        (words_module.OFFLINE_POLICIES, OfflinePolicy),
        (words_module.OFFLINE_HELP, OfflinePolicy),
        (words_module.UPLINK_STATES, UplinkState),
        (words_module.UPLINK_KINDS, UplinkState),
        (words_module.TRIALS, Trial),
        (words_module.FINDINGS, Finding),
        (words_module.FINDING_KINDS, Finding),
        (words_module.ACCESS_RULES, AccessRule),
        (words_module.DASHBOARDS, Dashboard),
        (words_module.ROLES, Role),
        (words_module.BADGE_STATES, BadgeState),
        (words_module.BADGE_TYPES, BadgeType),
        (words_module.PASSWORD_RULES, PasswordRule),
        (words_module.VERDICTS, Verdict),
        (notes_module.NOTES, StationNote),
        (notes_module.TURNED_AWAY, TurnedAwayFor),
        (notes_module.REPORTS, ReportKind),
    ],
)
def test_every_value_of_the_core_has_words(table: dict[object, str], kind: Any) -> None:
    assert set(table) == set(kind)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_becomes_a_whole_sentence_in_every_language(language: str) -> None:
    said = Words(language, "Europe/Paris")
    for reason in GrantReason:
        view = connector(reason, limited_by=Binding("default", Phase.L2), sharing=4, turn=(2, 3))
        sentence = said.why(State(site=SITE), BAY_1, view, NOON)
        assert sentence.endswith(".")
        assert "%" not in sentence


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_alarm_of_a_station_names_it_in_every_language(language: str) -> None:
    said = Words(language, "Europe/Paris")
    nameless = {AlarmCode.STORAGE_FAILING, AlarmCode.GUARD_INTERVENED}
    for code in set(AlarmCode) - nameless:
        for met in (True, False):
            state = State(site=SITE, stations={"ST1": StationState(met=met)})
            assert "Bay 1" in said.alarm(state, Alarm(code, "ST1", NOON))


def test_of_a_station_that_never_called_nobody_says_that_something_is_kept_for_it() -> None:
    said, alarm = Words("en", "UTC"), Alarm(AlarmCode.STATION_OFFLINE, "ST1", NOON)
    never = "Bay 1 has never called; no current is kept for it."
    assert said.alarm(State(site=SITE), alarm) == never
    assert said.alarm(State(site=SITE, stations={"ST1": StationState()}), alarm) == never
    lost = State(site=SITE, stations={"ST1": StationState(met=True)})
    assert said.alarm(lost, alarm) == "Bay 1 is offline; what it may still draw is kept for it."


def test_every_end_of_an_order_has_words() -> None:
    assert {*CallFailure, *OrderFault} <= set(TOLD)


# The sentences of the person beside the car


def test_a_shared_limit_names_its_phase_its_node_and_with_how_many() -> None:
    shared = connector(GrantReason.SHARED_LIMIT, limited_by=Binding("default", Phase.L2))
    assert why(attrs.evolve(shared, sharing=4)) == "Shares L2 of Cluster #1 with 3 cars."
    assert why(attrs.evolve(shared, sharing=2)) == "Shares L2 of Cluster #1 with 1 car."
    assert why(attrs.evolve(shared, sharing=1)) == "L2 of Cluster #1 has no more to give."


def test_a_waiting_car_is_told_its_place_in_the_row() -> None:
    assert why(connector(GrantReason.WAITING, turn=(2, 3))) == "Waiting, number 2 of 3; next turn 14:15."


def test_a_car_that_takes_less_than_it_may_is_said_to_want_no_more() -> None:
    assert why(connector(GrantReason.VEHICLE)) == "The car takes what it wants (9.8 A)."
    asleep = connector(GrantReason.VEHICLE, current_ma=PerPhase(), limit_ma=6_000)
    assert why(asleep) == "The car takes nothing at present; it may take 6 A."


def test_a_silent_meter_is_told_with_the_time_since_when() -> None:
    silent = Alarm(AlarmCode.METER_SILENT, "site", NOON - timedelta(minutes=2))
    state = State(site=SITE, alarms={(silent.code, silent.subject): silent})
    assert "silent since 13:58;" in why(connector(GrantReason.METER_LOST), state=state)
    assert "silent;" in why(connector(GrantReason.METER_LOST))


def test_a_limit_from_outside_is_told_as_it_was_set_and_not_as_what_is_left_of_it() -> None:
    def state(*limits: ExternalLimit, holds: bool = True) -> State:
        kept = {limit.id: LimitState(LimitRecord(limit, "anna", NOON), 0, holds=holds) for limit in limits}
        return State(site=SITE, limits=kept)

    building = ExternalLimit("1", limit_w=11_000, ends_at=NOON + timedelta(hours=2))
    cluster, tighter = (
        ExternalLimit("2", "default", PerPhase.same(20_000)),
        ExternalLimit("3", "default", limit_w=4_200),
    )
    waits = connector(GrantReason.EXTERNAL_LIMIT, limit_ma=0, limited_by=Binding("default", Phase.L2))
    told = why(attrs.evolve(waits, limited_by=Binding("site", Phase.L1)), state=state(building, cluster))
    assert told == "Limited from outside: the building to 11 kW until 16:00."
    assert why(waits, state=state(building, cluster)) == "Limited from outside: Cluster #1 to 20 A."
    assert why(waits, state=state(cluster, tighter)) == "Limited from outside: Cluster #1 to 4.2 kW."
    alone = attrs.evolve(waits, limited_by=None)
    assert why(alone, state=state(cluster)) == "Limited from outside: Cluster #1 to 20 A."
    assert why(alone, state=state(cluster, holds=False)) == "Grid operator: 0 A."


def test_an_offline_station_is_told_since_when_and_what_is_kept_for_it() -> None:
    lost = attrs.evolve(BAY_1, presence=Presence.OFFLINE, since_ms=3_600_000)
    assert why(connector(None, limit_ma=6_000), lost) == "Station offline since 13:00; 6 A kept for it."
    assert why(None, lost) == "Station offline since 13:00."
    assert why(None, attrs.evolve(lost, since_ms=None)) == "Has never connected."


def test_an_absence_of_two_days_is_told_with_its_date() -> None:
    lost = attrs.evolve(BAY_1, presence=Presence.OFFLINE, since_ms=48 * 3_600_000)
    assert why(None, lost) == "Station offline since 29 Jun 2026 14:00."


def test_an_end_in_three_days_is_told_with_its_date() -> None:
    assert ENGLISH.since(NOON + timedelta(hours=1), NOON) == "15:00"
    assert ENGLISH.since(NOON + timedelta(days=3), NOON) == "4 Jul 2026 14:00"


def test_nothing_is_explained_where_there_is_nothing_to_explain() -> None:
    assert why(connector(GrantReason.OWN_MAXIMUM, status=Status.AVAILABLE, session=None)) == ""
    assert why(connector(None)) == ""
    assert why(None) == ""


def test_a_fault_and_a_stranger_say_what_they_are() -> None:
    assert "fault" in why(connector(None, status=Status.FAULTED))
    assert "adopted" in why(None, attrs.evolve(BAY_1, presence=Presence.PENDING))


def test_the_status_word_tells_what_matters_most() -> None:
    def word(view: ConnectorView | None, presence: Presence = Presence.ONLINE) -> str:
        return ENGLISH.status(attrs.evolve(BAY_1, presence=presence), view).word

    assert word(connector(None)) == "Charging"
    assert word(connector(GrantReason.WAITING, status=Status.CHARGING)) == "Waiting"
    assert word(connector(None), Presence.OFFLINE) == "Offline"
    assert word(None, Presence.PENDING) == "Not adopted"
    assert word(None) == "Online"


# Numbers, times, names


def test_numbers_follow_the_language() -> None:
    assert (ENGLISH.amps(10_240), GERMAN.amps(10_240)) == ("10.2", "10,2")
    assert (ENGLISH.amps_short(16_000), ENGLISH.amps_short(9_800)) == ("16", "9.8")
    assert (ENGLISH.amps_exact(50_425), GERMAN.amps_exact(1_250_000)) == ("50.425", "1250")
    assert (ENGLISH.kwh(1_234_560), GERMAN.kwh(1_234_560)) == ("1,234.6", "1.234,6")


def test_times_are_those_of_the_site() -> None:
    assert ENGLISH.time(NOON) == "14:00"
    assert ENGLISH.stamp(NOON) == "1 Jul 2026 14:00"
    assert ENGLISH.end_stamp(NOON, NOON - timedelta(hours=13)) == "14:00"
    assert ENGLISH.end_stamp(NOON, NOON - timedelta(hours=15)) == "1 Jul 2026 14:00"
    assert GERMAN.day(NOON.date()) == "01.07.2026"


def test_durations_show_hours_only_when_there_are_some() -> None:
    assert [ENGLISH.duration(ms) for ms in (59_999, 60_000, 4_320_000)] == ["0 min", "1 min", "1 h 12 min"]


def test_nodes_and_stations_are_called_by_their_names() -> None:
    names = [ENGLISH.node(SITE, node) for node in ("site", "default", "station:ST1", "station:ST2", "gone")]
    assert names == ["the building", "Cluster #1", "Bay 1", "ST2", "gone"]


def test_an_alarm_leads_to_where_it_can_be_mended() -> None:
    def link(code: AlarmCode, subject: str) -> str:
        return alarm_link(Alarm(code, subject, NOON), SITE)

    assert link(AlarmCode.METER_SILENT, "site") == "/settings#meter"
    assert link(AlarmCode.STATION_OFFLINE, "ST1") == "/stations/ST1"
    assert link(AlarmCode.STRANGER_DRAWS, "NEW/1") == "/stations"
    assert link(AlarmCode.METER_FROZEN, "default") == "/clusters/default/meter"
    assert link(AlarmCode.CPO_REFUSES, "ST1") == "/uplink"
    assert link(AlarmCode.LIMIT_SENDER_SILENT, "site") == "/limits"
    assert link(AlarmCode.CLOCK_WRONG, "") == "/system"
    assert link(AlarmCode.CLOCK_WRONG, "ST1") == "/stations/ST1"
    assert link(AlarmCode.STORAGE_FAILING, "") == "/"


# Languages


@pytest.mark.parametrize(
    ("chosen", "accepted", "of_site", "language"),
    [
        ("fr", "de", "nl", "fr"),
        (None, "de-AT,de;q=0.9,en;q=0.5", "nl", "de"),
        (None, "en;q=0.2, nl;q=0.8", "de", "nl"),
        ("xx", "pt-BR", "nl", "nl"),
        (None, "", "pt", "en"),
        (None, "de;q=much,fr", "en", "fr"),
    ],
)
def test_the_reader_is_asked_first_then_the_browser_then_the_site(
    chosen: str | None, accepted: str, of_site: str, language: str
) -> None:
    assert choose_language(chosen, accepted, of_site) == language


def marked_texts() -> Iterator[str | tuple[str, ...]]:
    """Every text that the pages mark for translation, as the extractor of the translators finds it."""
    keywords: dict[str, Any] = dict.fromkeys(("_", "N_", "self", "words"))
    keywords |= {"n_": (1, 2), "many": (1, 2)}
    for source in [*WEB.glob("*.py"), *WEB.glob("templates/*.html")]:
        is_code = source.suffix == ".py"
        method: str | Callable[..., Any] = "python" if is_code else babel_extract
        options = {} if is_code else {"trim_blocks": "true", "lstrip_blocks": "true"}
        with source.open("rb") as opened:
            for _, message, _, _ in extract(method, opened, keywords, options=options):
                yield message


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"%\(\w+\)s", text))


@pytest.mark.parametrize("language", sorted(set(LANGUAGES) - {"en"}))
def test_every_text_is_translated_and_keeps_its_placeholders(language: str) -> None:
    marked = set(marked_texts())
    assert len(marked) > 200
    assert not re.search(r"^#, .*fuzzy", (WEB / "locale" / f"{language}.po").read_text(), re.M)
    with (WEB / "locale" / f"{language}.po").open("rb") as source:
        catalogue = {message.id: message.string for message in read_po(source) if message.id}
    assert set(catalogue) == marked
    for text, translated in catalogue.items():
        for source_form, form in zip(forms(text), forms(translated), strict=True):
            assert placeholders(form) == placeholders(source_form)
            assert form.strip()


def forms(text: object) -> tuple[str, ...]:
    """A text, or its forms for one and for several."""
    return tuple(map(str, text)) if isinstance(text, tuple | list) else (str(text),)


def test_templates_hold_no_text_of_their_own() -> None:
    """What stands between tags and in spoken attributes comes from an expression; punctuation and units are left."""
    allowed = {"A", "kWh", "A per phase"}
    for template in WEB.glob("templates/*.html"):
        bare = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", template.read_text(), flags=re.S)
        spoken = re.findall(r'(?:aria-label|title|placeholder|alt)="([^"]*)"', bare)
        for text in (*re.findall(r">([^<>]*)<", bare), *spoken):
            said = re.sub(r"&#?\w+;", "", text).strip()
            assert not re.search(r"[A-Za-z]{2,}", said) or said in allowed, (template.name, text)


def faults_in(module: str) -> Iterator[str]:
    """The texts of all faults that a module of the core tells, with a 7 for every value."""
    tree = ast.parse((SRC / module).read_text())
    names = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Fault":
            told = names[node.args[1].id] if isinstance(node.args[1], ast.Name) else node.args[1]
            if isinstance(told, ast.Attribute):  # another fault's text, handed on
                continue
            parts = told.values if isinstance(told, ast.JoinedStr) else [told]
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in parts)


@pytest.mark.parametrize(
    "module",
    [
        "site.py",
        "configuration.py",
        "enrolling.py",
        "curtailment.py",
        "external.py",
        "uplink.py",
        "mail.py",
        "wish.py",
        "yielding.py",
    ],
)
def test_every_fault_of_the_core_is_told_in_every_language(module: str) -> None:
    told = list(faults_in(module))
    assert told
    for text in told:
        for language in set(LANGUAGES) - {"en"}:
            assert Words(language, "UTC").fault(text) != text, text
        assert ENGLISH.fault(text) == text


def test_a_fault_in_a_file_is_told_with_its_line_and_column() -> None:
    assert GERMAN.fault("line 3: type “X” must be STANDARD or SUPER") == (
        "Zeile 3, type: „X“ muss STANDARD oder SUPER sein"
    )
    assert GERMAN.fault("line 1: the file is empty") == "Zeile 1: die Datei ist leer"
    assert GERMAN.fault("nobody knows this") == "nobody knows this"


# Bars and pages


def site_state(limit: PerPhase, total: PerPhase | None, stations: PerPhase, *, phases: int = 3) -> State:
    site = attrs.evolve(SITE, supply=Supply(phases=phases))
    view = NodeView("site", limit, total, stations, stations, PerPhase())
    cluster = NodeView("default", PerPhase.same(6_300_000), None, stations, stations, PerPhase())
    feed = attrs.evolve(view, node="station:ST1")
    return State(site=site, nodes={"site": view, "default": cluster, "station:ST1": feed})


def percents(*texts: str) -> list[float]:
    return [float(text.removesuffix("%")) for text in texts]


def test_a_bar_stacks_building_cars_and_free_up_to_the_limit() -> None:
    node, _ = node_bars(site_state(PerPhase.same(50_000), PerPhase.same(40_000), PerPhase.same(30_000)))
    bar = node.bars[0]
    assert (bar.building_ma, bar.cars_ma, bar.free_ma, bar.limit_ma) == (10_000, 30_000, 10_000, 50_000)
    assert bar.limit_at is not None
    building, cars_from, cars, free_from, free, limit = percents(
        bar.building.width, bar.cars.x, bar.cars.width, bar.free.x, bar.free.width, bar.limit_at
    )
    assert cars_from == building
    assert free_from == pytest.approx(building + cars, abs=0.02)
    assert limit == pytest.approx(free_from + free, abs=0.02)
    assert cars == pytest.approx(3 * building, abs=0.05)
    assert limit < 100


def test_a_bar_above_its_limit_stays_in_the_picture_and_is_marked() -> None:
    node, _ = node_bars(site_state(PerPhase.same(20_000), PerPhase.same(50_000), PerPhase.same(10_000)))
    bar = node.bars[0]
    assert bar.is_over
    assert bar.free_ma == 0
    assert max(percents(bar.building.width, bar.cars.x, bar.limit_at or "0%")) < 100


def test_a_building_that_feeds_back_is_drawn_as_nothing_and_told_as_it_is() -> None:
    node, _ = node_bars(site_state(PerPhase.same(20_000), PerPhase.same(5_000), PerPhase.same(8_000)))
    assert node.bars[0].building_ma == -3_000
    assert percents(node.bars[0].building.width) == [0]


def test_a_cluster_without_a_limit_has_none_and_shares_the_sites_scale() -> None:
    site, cluster = node_bars(site_state(PerPhase.same(50_000), None, PerPhase.same(10_000)))
    assert not cluster.has_limit
    assert (cluster.bars[0].limit_ma, cluster.bars[0].free_ma, cluster.bars[0].limit_at) == (None, None, None)
    assert cluster.bars[0].cars == site.bars[0].cars
    assert not site.has_building


def test_a_one_phase_site_has_one_bar() -> None:
    nodes = node_bars(site_state(PerPhase(25_000), PerPhase(9_000), PerPhase(4_000), phases=1))
    assert [[bar.phase for bar in node.bars] for node in nodes] == [[Phase.L1], [Phase.L1]]


def test_an_idle_site_without_current_is_still_drawn() -> None:
    assert len(node_bars(site_state(PerPhase(), None, PerPhase()))) == 2


def test_a_page_beyond_the_last_is_the_last() -> None:
    part = cut(list(range(25)), Listing(size=10, page=9))
    assert (part.items, part.page, part.pages, part.total) == ((20, 21, 22, 23, 24), 3, 3, 25)
    assert cut([], Listing()).pages == 1


@pytest.mark.parametrize(
    "nonsense", ["size=11", "size=x", "page=0", "page=-1", "page=²", "page=1234567", "size=", "page="]
)
def test_nonsense_in_the_address_asks_for_the_beginning(nonsense: str) -> None:
    assert Listing.of(QueryParams(nonsense)) == Listing()


def test_a_list_keeps_its_filter_from_page_to_page() -> None:
    listing = Listing.of(QueryParams(Listing("ä&b", 20).at(3).removeprefix("?")))
    assert listing == Listing("ä&b", 20, 3)
