"""The core's enums and numbers, said to a person: statuses, reasons, alarms, quantities, times.

Every string that a user reads passes through `Words`, which translates and formats by locale. Texts in tables are
marked with `N_`, so that the extractor finds them, and translated when they are said.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

import attrs
from babel.dates import format_date, format_time
from babel.numbers import format_decimal

from llm_adapters.web.faults import N_ as N_
from llm_adapters.web.faults import said
from llm_adapters.web.languages import catalogue
from llm_core import (
    SITE,
    AccessRule,
    Alarm,
    AlarmCode,
    BadgeState,
    BadgeType,
    ByteOrder,
    Concurrency,
    ConnectorView,
    Dashboard,
    ExternalLimit,
    Finding,
    GrantReason,
    Mode,
    Network,
    OfflinePolicy,
    PasswordRule,
    Presence,
    Role,
    Site,
    State,
    StationView,
    Status,
    Strategy,
    Trial,
    UplinkState,
    Verdict,
)

STATUSES = {
    Status.AVAILABLE: N_("Free"),
    Status.PREPARING: N_("Connected"),
    Status.CHARGING: N_("Charging"),
    Status.SUSPENDED_EV: N_("Car paused"),
    Status.SUSPENDED_EVSE: N_("Waiting"),
    Status.FINISHING: N_("Finished"),
    Status.RESERVED: N_("Reserved"),
    Status.UNAVAILABLE: N_("Not available"),
    Status.FAULTED: N_("Fault"),
}
KINDS = {
    Status.AVAILABLE: "free",
    Status.PREPARING: "waiting",
    Status.CHARGING: "charging",
    Status.SUSPENDED_EV: "paused",
    Status.SUSPENDED_EVSE: "waiting",
    Status.FINISHING: "done",
    Status.RESERVED: "waiting",
    Status.UNAVAILABLE: "off",
    Status.FAULTED: "fault",
}
PRESENCES = {Presence.ONLINE: N_("Online"), Presence.OFFLINE: N_("Offline"), Presence.PENDING: N_("Not adopted")}
MODES = {Mode.DYNAMIC: N_("Dynamic"), Mode.STATIC: N_("Static")}
MODE_HELP = {
    Mode.DYNAMIC: N_("Cars get what the building leaves over, as its meter tells."),
    Mode.STATIC: N_("Cars share a fixed current; no meter is needed."),
}
STRATEGIES = {
    Strategy.EQUAL: N_("Equal shares"),
    Strategy.FIRST_COME: N_("First come, first served"),
    Strategy.PRIORITY: N_("Priority"),
}
STRATEGY_HELP = {
    Strategy.EQUAL: N_("All cars rise together; whoever needs less leaves the rest to the others."),
    Strategy.FIRST_COME: N_("Who came first is served first; later cars get what is left."),
    Strategy.PRIORITY: N_("Stations with a higher priority are served first; equal ones share."),
}
ACCESS_RULES = {
    AccessRule.FREE: N_("Free access"),
    AccessRule.BADGE: N_("Badge required"),
    AccessRule.CPO: N_("Charge point operator"),
}
ACCESS_HELP = {
    AccessRule.FREE: N_("Everybody charges, without a badge."),
    AccessRule.BADGE: N_("Only badges on your list charge."),
    AccessRule.CPO: N_("The operator decides who charges; the badges here are not asked for."),
}
CONCURRENCIES = {
    Concurrency.ALLOWED: N_("Yes, as often as it likes"),
    Concurrency.REFUSED: N_("No, at one station at a time"),
}
BYTE_ORDERS = {
    ByteOrder.AS_READ: N_("Exactly as the station reads them"),
    ByteOrder.EITHER: N_("Also with their bytes backwards"),
}
NETWORKS = {
    Network.WITH_NEUTRAL: N_("With a neutral (3 × 400 V), the usual"),
    Network.WITHOUT_NEUTRAL: N_("Without a neutral (3 × 230 V)"),
}
DASHBOARDS = {Dashboard.PUBLIC: N_("Public"), Dashboard.RESTRICTED: N_("Restricted")}
DASHBOARD_HELP = {
    Dashboard.PUBLIC: N_("Everybody on this network sees the overview, without names and badges."),
    Dashboard.RESTRICTED: N_("Only users who sign in see the overview."),
}
ROLES = {
    Role.ADMINISTRATOR: N_("Administrator"),
    Role.ADVANCED: N_("Advanced user"),
    Role.STANDARD: N_("Standard user"),
}
ROLE_HELP = {
    Role.ADMINISTRATOR: N_("All settings."),
    Role.ADVANCED: N_("The overview, the sessions and all badges; creates standard users."),
    Role.STANDARD: N_("The overview and the sessions."),
}
OFFLINE_POLICIES = {
    OfflinePolicy.CACHED: N_("Whom the operator knew"),
    OfflinePolicy.LOCAL: N_("The badges here"),
    OfflinePolicy.REFUSE: N_("Nobody"),
}
OFFLINE_HELP = {
    OfflinePolicy.CACHED: N_("Badges that the operator let in before go on charging."),
    OfflinePolicy.LOCAL: N_("The list under “Charging authorisation” decides meanwhile."),
    OfflinePolicy.REFUSE: N_("Nobody starts until the operator answers again; who charges goes on."),
}
UPLINK_STATES = {
    UplinkState.OFF: N_("Not connected to an operator"),
    UplinkState.CONNECTING: N_("Connecting…"),
    UplinkState.ACCEPTED: N_("Accepted by service provider"),
    UplinkState.PENDING: N_("Waits for the operator's consent"),
    UplinkState.REFUSED: N_("Refused by the operator"),
    UplinkState.OFFLINE: N_("The operator does not answer"),
}
UPLINK_KINDS = {
    UplinkState.OFF: "off",
    UplinkState.CONNECTING: "waiting",
    UplinkState.ACCEPTED: "active",
    UplinkState.PENDING: "waiting",
    UplinkState.REFUSED: "fault",
    UplinkState.OFFLINE: "attention",
}
TRIALS = {
    Trial.CONFIGURATION: N_("Tells what it can do"),
    Trial.AMPS: N_("Takes limits in amps"),
    Trial.WATTS: N_("Takes limits in watts"),
    Trial.ZERO: N_("Takes a limit of 0 A"),
    Trial.DECIMALS: N_("Takes tenths of an amp"),
    Trial.SECOND_PERIOD: N_("Lowers its limit by itself when nobody is heard"),
    Trial.STACKING: N_("Keeps a permanent limit beneath the live one"),
    Trial.COMPOSITE: N_("Tells which limit it follows"),
    Trial.CLEARING: N_("Lets a limit go when asked to"),
    Trial.OBEYS: N_("The car keeps to a lower limit"),
    Trial.PHASES: N_("The phases on which the car draws"),
    Trial.FALLS_BACK: N_("Falls back when the link is cut"),
    Trial.KEEPS_PROFILES: N_("Keeps its limits over a restart"),
}
FINDINGS = {
    Finding.YES: N_("yes"),
    Finding.NO: N_("no"),
    Finding.UNCLEAR: N_("unclear"),
    Finding.SKIPPED: N_("not tried"),
}
FINDING_KINDS = {Finding.YES: "active", Finding.NO: "attention", Finding.UNCLEAR: "waiting", Finding.SKIPPED: "off"}
BADGE_STATES = {
    BadgeState.PENDING: N_("Pending"),
    BadgeState.ACTIVE: N_("Active"),
    BadgeState.INACTIVE: N_("Not active"),
}
BADGE_TYPES = {BadgeType.STANDARD: N_("Standard"), BadgeType.SUPER: N_("Super user")}
PASSWORD_RULES = {
    PasswordRule.CAPITAL: N_("one capital letter"),
    PasswordRule.LOWER_CASE: N_("one lower-case letter"),
    PasswordRule.NUMBER: N_("one number"),
    PasswordRule.LENGTH: N_("8 characters"),
    PasswordRule.SYMBOL: N_("one symbol"),
}
VERDICTS = {
    Verdict.ACCEPTED: N_("Accepted"),
    Verdict.BLOCKED: N_("Blocked"),
    Verdict.EXPIRED: N_("Expired"),
    Verdict.INVALID: N_("Unknown"),
    Verdict.CONCURRENT: N_("Already charging"),
}
REASONS = {
    GrantReason.OWN_MAXIMUM: N_("Gets all this station may give (%(limit)s A)."),
    GrantReason.SHARED_LIMIT: N_("%(phase)s of %(node)s has no more to give."),
    GrantReason.WAITING: N_("Waiting for current; next turn %(turn)s."),
    GrantReason.UNBALANCE: N_("Held at %(limit)s A so that the phases stay in balance."),
    GrantReason.VEHICLE: N_("The car takes what it wants (%(current)s A)."),
    GrantReason.HOLDING: N_("Rises soon: the current was free only for a moment."),
    GrantReason.EXTERNAL_LIMIT: N_("Grid operator: %(limit)s A."),
    GrantReason.CPO_LIMIT: N_("The charge point operator allows %(limit)s A."),
    GrantReason.METER_LOST: N_("Building meter silent; safe limit until it answers."),
    GrantReason.STATION_LOST: N_("Station offline; %(limit)s A kept for it."),
    GrantReason.DISOBEYS: N_("Takes more than it was told; being stopped."),
    GrantReason.NOT_AUTHORISED: N_("No badge accepted yet, so no current yet."),
}
ALARMS = {
    AlarmCode.METER_SILENT: N_("The meter of %(name)s is silent; a safe limit holds until it answers."),
    AlarmCode.METER_FROZEN: N_("The meter of %(name)s repeats itself; a safe limit holds until it moves again."),
    AlarmCode.METER_IMPLAUSIBLE: N_("The meter of %(name)s gives values that cannot be; a safe limit holds."),
    AlarmCode.STATION_OFFLINE: N_("%(name)s is offline; what it may still draw is kept for it."),
    AlarmCode.STATION_DISOBEYS: N_("%(name)s gives more current than it was told; it is being stopped."),
    AlarmCode.STATION_REJECTS_LIMITS: N_("%(name)s refuses limits; all it can draw is reserved for it."),
    AlarmCode.STATION_CANNOT_FALL_BACK: N_("%(name)s keeps its last limit when the link is lost; that stays reserved."),
    AlarmCode.STATION_NOT_USABLE: N_("%(name)s cannot be used: its settings do not fit this installation."),
    AlarmCode.STRANGER_DRAWS: N_("%(name)s is not adopted, yet it draws current."),
    AlarmCode.LIMIT_EXCEEDED: N_("More current flows through %(name)s than its limit allows."),
    AlarmCode.GUARD_INTERVENED: N_("The last safety check lowered a limit. Please report it with a support bundle."),
    AlarmCode.STORAGE_FAILING: N_("Nothing can be stored; no limit is raised until that works again."),
    AlarmCode.CLOCK_WRONG: N_("The clock of this controller or of %(name)s is wrong; times may be off."),
    AlarmCode.LIMIT_SENDER_SILENT: N_("Whoever limits %(name)s from outside has not been heard for too long."),
    AlarmCode.CPO_OFFLINE: N_("The charge point operator does not answer for %(name)s; the offline rule holds."),
    AlarmCode.CPO_REFUSES: N_("The charge point operator refuses %(name)s."),
    AlarmCode.PHASE_ORDER_SUSPECT: N_("The meter sees %(name)s on other phases than are set; check its phase order."),
    AlarmCode.CAR_ASLEEP: N_("The car at %(name)s takes no current although it may; it seems to sleep."),
}
NEVER_MET = N_("%(name)s has never called; no current is kept for it.")
METER_ALARMS = frozenset({AlarmCode.METER_SILENT, AlarmCode.METER_FROZEN, AlarmCode.METER_IMPLAUSIBLE})


@attrs.frozen
class StatusWord:
    """A status as shown: the word, and the kind that picks its icon and colour."""

    word: str
    kind: str


@attrs.frozen
class Words:
    """How to say things in one language, with the times of one time zone."""

    language: str
    time_zone: str

    def __call__(self, text: str, **values: object) -> str:
        """`text` translated, then filled in."""
        translated = catalogue(self.language).gettext(text) if text else ""
        return translated % values if values else translated

    def many(self, one: str, several: str, n: int, **values: object) -> str:
        """The form that fits the number `n`, translated, then filled in; `%(n)s` is the number."""
        return catalogue(self.language).ngettext(one, several, n) % {"n": n, **values}

    def fault(self, text: str) -> str:
        """What the core or a file reader refuses, in the reader's language."""
        return said(text, catalogue(self.language).gettext)

    # Quantities

    def amps(self, value_ma: int) -> str:
        """Amps with one decimal, for columns."""
        return _thousandths(value_ma, "#,##0.0", self.language)

    def amps_short(self, value_ma: int) -> str:
        """Amps with a decimal only where there is one, for sentences and fields' help."""
        return _thousandths(value_ma, "#,##0.#", self.language)

    def amps_exact(self, value_ma: int) -> str:
        """Amps to the milliamp, as a field shows what it will read back."""
        return _thousandths(value_ma, "0.###", self.language)

    def kwh(self, energy_wh: int) -> str:
        return _thousandths(energy_wh, "#,##0.0", self.language)

    def duration(self, elapsed_ms: int) -> str:
        hours, minutes = divmod(elapsed_ms // 60_000, 60)
        if hours:
            return self("%(hours)s h %(minutes)s min", hours=hours, minutes=f"{minutes:02}")
        return self("%(minutes)s min", minutes=minutes)

    def age(self, elapsed_ms: int) -> str:
        """How long ago something was, for values that should be fresh."""
        seconds = max(elapsed_ms, 0) // 1000
        if seconds >= 120:
            return self("%(time)s ago", time=self.duration(elapsed_ms))
        return self.many("%(n)s second ago", "%(n)s seconds ago", seconds)

    # Times

    def time(self, at: datetime) -> str:
        return format_time(at, "short", tzinfo=ZoneInfo(self.time_zone), locale=self.region)

    def stamp(self, at: datetime) -> str:
        local = at.astimezone(ZoneInfo(self.time_zone))
        return f"{format_date(local, 'medium', locale=self.region)} {self.time(at)}"

    def precise(self, at: datetime) -> str:
        """Day and time of day with its seconds."""
        local = at.astimezone(ZoneInfo(self.time_zone))
        return f"{format_date(local, 'medium', locale=self.region)} {local:%H:%M:%S}"

    def end_stamp(self, at: datetime, began: datetime) -> str:
        """When something ended: the time alone if that was on the day it began."""
        zone = ZoneInfo(self.time_zone)
        return self.time(at) if at.astimezone(zone).date() == began.astimezone(zone).date() else self.stamp(at)

    def day(self, day: date) -> str:
        return format_date(day, "medium", locale=self.region)

    def since(self, at: datetime, now: datetime) -> str:
        """The time of day, with its date when that is long ago or far ahead."""
        return self.time(at) if abs(now - at) < timedelta(hours=18) else self.stamp(at)

    @property
    def region(self) -> str:
        """European English: 14:02, and the day before the month."""
        return "en_GB" if self.language == "en" else self.language

    # Things

    def node(self, site: Site, node_id: str) -> str:
        """A node of the limit tree as people call it."""
        if node_id == SITE:
            return self("the building")
        if node_id.startswith("station:"):
            return self.station(site, node_id.removeprefix("station:"))
        return next((cluster.name for cluster in site.clusters if cluster.id == node_id), node_id)

    def node_title(self, site: Site, node_id: str) -> str:
        """A node as a heading."""
        return self("Whole building") if node_id == SITE else self.node(site, node_id)

    def station(self, site: Site, station_id: str) -> str:
        station = site.station(station_id)
        return (station.name if station is not None else "") or station_id

    def status(self, station: StationView, connector: ConnectorView | None) -> StatusWord:
        if station.presence is Presence.OFFLINE:
            return StatusWord(self(PRESENCES[Presence.OFFLINE]), "attention")
        if station.presence is Presence.PENDING:
            return StatusWord(self(PRESENCES[Presence.PENDING]), "new")
        if connector is None or connector.status is None:
            return StatusWord(self(PRESENCES[Presence.ONLINE]), "running")
        if connector.reason is GrantReason.WAITING:
            return StatusWord(self(STATUSES[Status.SUSPENDED_EVSE]), "waiting")
        return StatusWord(self(STATUSES[connector.status]), KINDS[connector.status])

    def why(self, state: State, station: StationView, connector: ConnectorView | None, utc: datetime) -> str:
        """Why this connector gets what it gets, in the words of the person beside the car."""
        if station.presence is Presence.PENDING:
            return self("Waits to be adopted.")
        if station.presence is Presence.OFFLINE:
            return self._lost(station, connector, utc)
        if connector is None or (connector.status is Status.AVAILABLE and connector.session is None):
            return ""
        if connector.status is Status.FAULTED:
            return self("Reports a fault; its own display tells more.")
        if connector.reason is None:
            return ""
        return self._reason(state, connector, connector.reason, utc)

    def _lost(self, station: StationView, connector: ConnectorView | None, utc: datetime) -> str:
        since = self.seen_since(station, utc)
        if since is None:
            return self("Has never connected.")
        kept_ma = connector.limit_ma if connector is not None else 0
        if kept_ma:
            return self(
                "Station offline since %(since)s; %(limit)s A kept for it.", since=since, limit=self.amps_short(kept_ma)
            )
        return self("Station offline since %(since)s.", since=since)

    def seen_since(self, station: StationView, utc: datetime) -> str | None:
        """Since when a station is what it is; None when it has never connected."""
        if station.since_ms is None:
            return None
        return self.since(utc - timedelta(milliseconds=station.since_ms), utc)

    def _reason(self, state: State, connector: ConnectorView, reason: GrantReason, utc: datetime) -> str:
        site = state.site
        values = {
            "limit": self.amps_short(connector.limit_ma),
            "current": self.amps_short(max(connector.current_ma or (0,))),
            "turn": self.time(next_turn(utc.astimezone(ZoneInfo(self.time_zone)), site.sharing.rotation_min)),
            "phase": connector.limited_by.phase if connector.limited_by is not None else "",
            "node": self.node(site, connector.limited_by.node) if connector.limited_by is not None else "",
        }
        if reason is GrantReason.VEHICLE and not max(connector.current_ma or (0,)):
            return self("The car takes nothing at present; it may take %(limit)s A.", **values)
        silent_since = min((alarm.since for alarm in state.alarms.values() if alarm.code in METER_ALARMS), default=None)
        if reason is GrantReason.METER_LOST and silent_since is not None:
            text = N_("Building meter silent since %(since)s; safe limit until it answers.")
            return self(text, since=self.since(silent_since, utc))
        limit = _binding_limit(state, connector) if reason is GrantReason.EXTERNAL_LIMIT else None
        if limit is not None:
            return self.outside(site, limit, utc)
        if reason is GrantReason.WAITING and connector.turn is not None:
            n, total = connector.turn
            text = N_("Waiting, number %(n)s of %(total)s; next turn %(turn)s.")
            return self(text, n=n, total=total, **values)
        if reason is GrantReason.SHARED_LIMIT and connector.sharing > 1:
            others = connector.sharing - 1
            return self.many(
                "Shares %(phase)s of %(node)s with %(n)s car.",
                "Shares %(phase)s of %(node)s with %(n)s cars.",
                others,
                **values,
            )
        return self(REASONS[reason], **values)

    def outside(self, site: Site, limit: ExternalLimit, utc: datetime) -> str:
        """A limit that somebody outside has set, as the overview tells it."""
        values = {"node": self.node(site, limit.node), "amount": self.limit_amount(site, limit)}
        if limit.ends_at is not None:
            text = N_("Limited from outside: %(node)s to %(amount)s until %(end)s.")
            return self(text, end=self.since(limit.ends_at, utc), **values)
        return self(N_("Limited from outside: %(node)s to %(amount)s."), **values)

    def limit_amount(self, site: Site, limit: ExternalLimit) -> str:
        """How much a limit from outside leaves."""
        if limit.limit_w is not None:
            return self("%(power)s kW", power=self.amps_short(limit.limit_w))
        phases = site.supply.site_phases
        amps = [self.amps_short(limit.on(phases)[phase]) for phase in phases]
        return self("%(limit)s A", limit=amps[0] if len(set(amps)) == 1 else " / ".join(amps))

    def role(self, role: Role) -> str:
        return self(ROLES[role])

    def strategy(self, strategy: Strategy) -> str:
        return self(STRATEGIES[strategy])

    def mode(self, mode: Mode) -> str:
        return self(MODES[mode])

    def access_rule(self, rule: AccessRule) -> str:
        return self(ACCESS_RULES[rule])

    def badge_type(self, kind: BadgeType) -> str:
        return self(BADGE_TYPES[kind])

    def badge_state(self, state: BadgeState) -> str:
        return self(BADGE_STATES[state])

    def verdict(self, verdict: Verdict) -> str:
        return self(VERDICTS[verdict])

    def password_rule(self, rule: PasswordRule) -> str:
        return self(PASSWORD_RULES[rule])

    def alarm(self, state: State, alarm: Alarm) -> str:
        """What needs attention; names the station or node it is about."""
        known = state.stations.get(alarm.subject)
        never_met = alarm.code is AlarmCode.STATION_OFFLINE and (known is None or not known.met)
        return self(NEVER_MET if never_met else ALARMS[alarm.code], name=self.alarm_subject(state.site, alarm))

    def alarm_subject(self, site: Site, alarm: Alarm) -> str:
        if not alarm.subject:
            return self("a station")
        if site.station(alarm.subject) is not None:
            return self.station(site, alarm.subject)
        return self.node(site, alarm.subject)


def _binding_limit(state: State, connector: ConnectorView) -> ExternalLimit | None:
    """The limit from outside that binds this connector: the smallest that holds at its place; None: nobody knows."""
    binding, phases = connector.limited_by, state.site.supply.site_phases
    holding = [known.record.limit for known in state.limits.values() if known.holds]
    if binding is not None:
        there = [limit for limit in holding if limit.node == binding.node]
        return min(there, key=lambda limit: limit.on(phases)[binding.phase], default=None)
    return holding[0] if len(holding) == 1 else None


@lru_cache(maxsize=20_000)
def _thousandths(value: int, pattern: str, language: str) -> str:
    """A number of thousandths in the reader's way of writing; the same ones come again and again."""
    return format_decimal(Decimal(value) / 1000, pattern, locale=language)


def next_turn(local: datetime, rotation_min: int) -> datetime:
    """When the waiting cars change places next: windows are counted in minutes since midnight of the first day."""
    minutes = local.toordinal() * 1440 + local.hour * 60 + local.minute
    left = rotation_min - minutes % rotation_min
    return local.replace(second=0, microsecond=0) + timedelta(minutes=left)
