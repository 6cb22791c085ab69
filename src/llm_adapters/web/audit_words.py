"""The settings of the core as people call them: a name and a way to say the value, for every part that is audited."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import TypeVar

from llm_adapters.web.limits import APPLIES_TO, LAPSES
from llm_adapters.web.words import (
    ACCESS_RULES,
    BADGE_STATES,
    BADGE_TYPES,
    BYTE_ORDERS,
    CONCURRENCIES,
    DASHBOARDS,
    MODES,
    N_,
    NETWORKS,
    OFFLINE_POLICIES,
    STRATEGIES,
    Words,
)
from llm_adapters.web.written import Thing, Written
from llm_core import PHASES, Order, Phase, Site

Key = TypeVar("Key", bound=StrEnum)
Say = Callable[[Written, Words, Site], str]
ABSENT = "–"
LONGEST = 200


def _amps(value: Written, words: Words, site: Site) -> str:
    if isinstance(value, Thing):
        phases: tuple[Phase, ...] = site.supply.site_phases if site.supply.phases == 1 else PHASES
        each = [value.parts.get(phase.lower(), 0) for phase in phases]
        shown = [words.amps_short(ma) for ma in each if isinstance(ma, int)]
        text = shown[0] if len(set(shown)) == 1 else " / ".join(shown)
        return words("%(limit)s A", limit=text)
    return words("%(limit)s A", limit=words.amps_short(value)) if isinstance(value, int) else ABSENT


def _number(template: str, *, kilo: bool = False) -> Say:
    def say(value: Written, words: Words, _: Site) -> str:
        if not isinstance(value, int):
            return ABSENT
        return words(template, n=words.amps_short(value) if kilo else value)

    return say


def _one_of(table: Mapping[Key, str]) -> Say:
    by_value = {str(key): text for key, text in table.items()}

    def say(value: Written, words: Words, _: Site) -> str:
        return words(by_value[value]) if isinstance(value, str) and value in by_value else _text(value, words, _)

    return say


def _yes_no(value: Written, words: Words, _: Site) -> str:
    return words("yes") if value else words("no")


def _sees(value: Written, words: Words, _: Site) -> str:
    return words("Building and charging stations") if value else words("Only the other consumers")


def _node(value: Written, words: Words, site: Site) -> str:
    return words.node_title(site, value) if isinstance(value, str) else words.node_title(site, "site")


def _stations(value: Written, words: Words, site: Site) -> str:
    if value is None:
        return words("all")
    return _listed(value, lambda one: words.station(site, one))


def _badges(value: Written, words: Words, _: Site) -> str:
    return words("all") if value is None else _listed(value, str)


def _phases(value: Written, _: Words, __: Site) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else ABSENT


def _ids(value: Written, words: Words, site: Site) -> str:
    """Which stations the operator knows, and by which name."""
    entries = [one for one in value if isinstance(one, Thing)] if isinstance(value, tuple) else []
    parts = [(str(one.parts.get("station_id")), str(one.parts.get("ocpp_id"))) for one in entries]
    return ", ".join(f"{words.station(site, station)}: {ocpp_id}" for station, ocpp_id in parts)[:LONGEST] or ABSENT


def _servers(value: Written, _: Words, __: Site) -> str:
    entries = [one for one in value if isinstance(one, Thing)] if isinstance(value, tuple) else []
    return ", ".join(str(one.parts.get("name")) for one in entries)[:LONGEST] or ABSENT


def _transformer(value: Written, words: Words, _: Site) -> str:
    if not isinstance(value, Thing):
        return ABSENT
    ratio = f"{value.parts.get('primary_a')} / {value.parts.get('secondary_a')} A"
    by_us = value.parts.get("applied_by") == "manager"
    applied = words("applied here") if by_us else words("applied by the meter")
    return f"{ratio}, {applied}"


def _moment(value: Written, words: Words, _: Site) -> str:
    if isinstance(value, datetime):
        return words.stamp(value)
    return words.day(value) if isinstance(value, date) else ABSENT


def _given(value: Written, words: Words, _: Site) -> str:
    """For texts that are too long to read: whether there is one."""
    return words("set") if value else ABSENT


def _text(value: Written, _: Words, __: Site) -> str:
    if isinstance(value, tuple):
        return _listed(value, str)
    return str(value)[:LONGEST] if value not in (None, "") else ABSENT


def _listed(value: Written, name: Callable[[str], str]) -> str:
    names = sorted(name(str(one)) for one in value) if isinstance(value, tuple) else []
    return ", ".join(names)[:LONGEST] or ABSENT


_seconds, _minutes = _number(N_("%(n)s s")), _number(N_("%(n)s min"))
_kilowatts, _kilowatt_hours = _number(N_("%(n)s kW"), kilo=True), _number(N_("%(n)s kWh"), kilo=True)
_applies_to = _one_of({key: title for key, (title, _) in APPLIES_TO.items()})

SETTINGS: dict[str, dict[str, tuple[str, Say]]] = {
    "System": {
        "name": (N_("Name of this site"), _text),
        "country": (N_("Country"), _text),
        "time_zone": (N_("Time zone"), _text),
        "language": (N_("Language"), _text),
        "dashboard": (N_("Access to the overview"), _one_of(DASHBOARDS)),
    },
    "Supply": {
        "mode": (N_("How the current is managed"), _one_of(MODES)),
        "phases": (N_("Phases"), _text),
        "fuse_ma": (N_("Installation protection"), _amps),
        "derated_ma": (N_("Derated current"), _amps),
        "static_max_ma": (N_("For charging in static mode"), _amps),
        "fallback_ma": (N_("For charging while the meter is silent"), _amps),
        "lease_s": (N_("A limit holds by itself for"), _seconds),
        "network": (N_("Network"), _one_of(NETWORKS)),
    },
    "Cluster": {
        "id": (N_("Id"), _text),
        "name": (N_("Name"), _text),
        "parent": (N_("Hangs under"), _node),
        "limit_ma": (N_("Limit"), _amps),
    },
    "Station": {
        "id": (N_("Id"), _text),
        "name": (N_("Name"), _text),
        "cluster": (N_("Cluster"), _node),
        "phase_rotation": (N_("Phase order"), _phases),
        "max_ma": (N_("Most current"), _amps),
        "min_ma": (N_("Least current"), _amps),
        "fallback_ma": (N_("When it loses this controller"), _amps),
        "start_alone_ma": (N_("Before this controller has spoken"), _amps),
        "priority": (N_("Priority"), _text),
        "feed_ma": (N_("Its own fuse"), _amps),
        "out_of_service": (N_("Out of service"), _yes_no),
        "badges": (N_("Badges"), _badges),
        "connectors": (N_("Connectors"), _text),
        "security_profile": (N_("Security profile"), _text),
    },
    "MeterSetup": {
        "node": (N_("Where"), _node),
        "model": (N_("Model"), _text),
        "host": (N_("Address"), _text),
        "port": (N_("Port"), _text),
        "unit": (N_("Unit number"), _text),
        "transport": (N_("Connected by"), _text),
        "includes_stations": (N_("What it sees"), _sees),
        "ct": (N_("With current transformers"), _transformer),
        "invert": (N_("Measures backwards"), _yes_no),
        "serial": (N_("Serial line"), _text),
        "baud": (N_("Speed"), _text),
        "parity": (N_("Parity"), _text),
        "stop_bits": (N_("Stop bits"), _text),
        "load_ma": (N_("The other consumers draw"), _amps),
    },
    "Sharing": {
        "strategy": (N_("Strategy"), _one_of(STRATEGIES)),
        "minimum_first": (N_("Minimum first"), _yes_no),
        "rotation_min": (N_("Turns"), _minutes),
        "unbalance_ma": (N_("Imbalance limit"), _amps),
    },
    "PutAccess": {
        "rule": (N_("Who may charge"), _one_of(ACCESS_RULES)),
        "concurrent": (N_("May a badge charge twice at once?"), _one_of(CONCURRENCIES)),
        "byte_order": (N_("Numbers of badges count"), _one_of(BYTE_ORDERS)),
    },
    "Uplink": {
        "enabled": (N_("Connect to the operator"), _yes_no),
        "url": (N_("Operator's server"), _text),
        "offline": (N_("While the operator does not answer"), _one_of(OFFLINE_POLICIES)),
        "ca": (N_("Certificate authority"), _given),
        "servers": (N_("Servers to choose from"), _servers),
        "stations": (N_("Stations"), _ids),
    },
    "Badge": {
        "badge_id": (N_("Badge number"), _text),
        "type": (N_("Type"), _one_of(BADGE_TYPES)),
        "state": (N_("Status"), _one_of(BADGE_STATES)),
        "group": (N_("Group"), _text),
        "comment": (N_("Name"), _text),
        "email": (N_("E-mail"), _text),
        "expires_on": (N_("Valid to the end of"), _moment),
        "stations": (N_("Stations"), _stations),
    },
    "ExternalLimit": {
        "id": (N_("Id"), _text),
        "node": (N_("Where"), _node),
        "limit_ma": (N_("Current left"), _amps),
        "limit_w": (N_("Power left"), _kilowatts),
        "applies_to": (N_("For what"), _applies_to),
        "starts_at": (N_("From"), _moment),
        "ends_at": (N_("Until"), _moment),
        "keep_alive_s": (N_("The sender is heard at least every"), _seconds),
        "then": (N_("If it is not heard"), _one_of(LAPSES)),
        "reason": (N_("Reason"), _text),
    },
    "Wish": {
        "departs_at": (N_("Leaves at"), _moment),
        "energy_wh": (N_("Energy wanted"), _kilowatt_hours),
    },
    "MailSetup": {
        "enabled": (N_("Send last month's sessions"), _yes_no),
        "host": (N_("Mail server"), _text),
        "port": (N_("Port"), _text),
        "security": (N_("Encryption"), _text),
        "user": (N_("User name"), _text),
        "sender": (N_("Sender"), _text),
        "recipients": (N_("Recipients"), _text),
        "attention": (N_("Tell when something needs attention"), _yes_no),
    },
}
"""Every part of every value that the audit trail writes down; a test holds this against the core."""

SETTINGS["BadgeRules"] = {name: SETTINGS["PutAccess"][name] for name in ("concurrent", "byte_order")}
PARTS = {"access": SETTINGS["PutAccess"]["rule"]}
"""Parts of a whole site that are no values with parts of their own."""
CHANGES = {
    "PutSystem": N_("System settings"),
    "PutSupply": N_("Supply"),
    "PutClusters": N_("Clusters"),
    "PutMeters": N_("Meters"),
    "PutSharing": N_("Load shedding strategy"),
    "PutAccess": N_("Access"),
    "PutUplink": N_("Charge point operator"),
    "PutStation": N_("Station"),
    "PutStations": N_("Stations"),
    "RemoveStation": N_("Station removed"),
    "configuration": N_("Whole configuration"),
    "badge": N_("Badge"),
    "badge scan": N_("Search for badges"),
    "station scan": N_("Search for stations"),
    "limit": N_("Limit from outside"),
    "wish": N_("Driver's wish"),
    "mail": N_("E-mail"),
    "station password": N_("Password of the station"),
    "uplink secret": N_("Operator's password or key"),
    Order.RESET: N_("Restart of a station"),
    Order.UNLOCK: N_("Cable unlocked"),
    Order.REMOTE_START: N_("Started by hand"),
    Order.REMOTE_STOP: N_("Stopped by hand"),
    Order.AVAILABILITY: N_("In or out of use"),
    Order.RESERVE: N_("Reservation"),
    Order.CANCEL_RESERVATION: N_("Reservation ended"),
    Order.CLEAR_CACHE: N_("Memory of badges cleared"),
    Order.GET_CONFIGURATION: N_("Settings of a station read"),
    Order.CHANGE_CONFIGURATION: N_("Setting of a station changed"),
    Order.PHASE_ROTATION: N_("Phase order told to a station"),
    Order.COMPOSITE_SCHEDULE: N_("Limits of a station read"),
    Order.TRIGGER: N_("Message asked for"),
    Order.EXTENDED_TRIGGER: N_("Message asked for"),
    Order.DIAGNOSTICS: N_("Diagnostics asked for"),
    Order.LOG: N_("Log asked for"),
    Order.FIRMWARE: N_("Firmware update"),
    Order.SIGNED_FIRMWARE: N_("Firmware update"),
    Order.LOCAL_LIST_VERSION: N_("List of badges in a station"),
    Order.CERTIFICATES: N_("Certificates of a station read"),
    Order.INSTALL_CERTIFICATE: N_("Certificate installed"),
    Order.DELETE_CERTIFICATE: N_("Certificate deleted"),
    Order.SEND_CERTIFICATE: N_("Certificate sent"),
    Order.DATA_TRANSFER: N_("Message of a maker"),
    Order.COMMISSION: N_("Commissioning test"),
}
"""What the audit trail calls a change, in words; what stands not here is shown as it is."""
ACCOUNTS = {
    "password of ": N_("Password"),
    "user ": N_("User"),
    "role of ": N_("Role"),
    "token ": N_("API token"),
}
"""What is written with a name after it."""
STANDINGS = {
    "temporary": N_("temporary"),
    "set": N_("set"),
    "valid": N_("valid"),
    "revoked": N_("revoked"),
    "removed": N_("removed"),
    "begun": N_("begun"),
    "not begun": N_("not begun"),
    "done": N_("done"),
    "all stations": N_("All stations"),
}
