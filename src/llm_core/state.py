"""What is known. One immutable value: pages and API read it as it is, a step makes the next one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from llm_core.authorisation import Badge, find_badge
from llm_core.commissions import Commission
from llm_core.effects import Alarm, AlarmCode, CpoVerdict, RefusedStart
from llm_core.events import Capabilities, Status, TurnedAwayFor
from llm_core.external import CapSource, ClockDoubt, Ended, LimitRecord
from llm_core.ledger import Ledger
from llm_core.local_lists import LocalList
from llm_core.orders import Reservation, StationReport, StationScan
from llm_core.problem import Binding, Grant, GrantReason
from llm_core.quantities import PerPhase, Phase
from llm_core.sessions import Session
from llm_core.site import Site
from llm_core.uplink import UplinkStatus
from llm_core.wish import Wish

Key = tuple[str, int]  # station id, connector: the address of a connector


@attrs.frozen
class Reading:
    """What a connector drew, on the phases of the site, as reported at `at_ms`, and the most that it might hold.

    `by_phase` where that was told of each phase it is wired to; `spread` where a total was spread over them.
    """

    at_ms: int
    current_ma: PerPhase
    held_ma: int = 0
    by_phase: bool = True
    spread: bool = False


@attrs.frozen(slots=False)  # copied with every reading (`copies.changed`)
class ConnectorState:
    """All that is known of one connector."""

    ledger: Ledger
    status: Status | None = None
    status_ms: int = 0
    status_at: datetime | None = None  # the newest stamp of any status of it, on the station's own clock
    session: Session | None = None  # the open one, whose badge was accepted
    session_ms: int = 0  # when the session became known to us
    uncounted_uj: int = 0  # what it drew beyond the last whole watt-hour, where the station tells no register
    preparing_ms: int | None = None  # since when a share is reserved for a car that has not started
    available_ms: int | None = None  # since when it says Available although a session is open
    settled_from_ms: int = 0  # readings from here on show the effect of the last command
    least_told_ma: int = 0  # the least it was told since the last reading that showed the effect of a command
    asked_ms: int | None = None  # when its reading was last asked for
    changed_ms: int | None = None  # when its limit was last changed (renewals aside)
    raised_ms: int | None = None  # when it was last told more than before
    lowering_ms: int | None = None  # since when a lower limit waits for its acknowledgement
    readings: tuple[Reading, ...] = ()  # the last two
    mean_ma: PerPhase | None = None  # of the draw, over up to 60 s since it settled
    over_ma: PerPhase = PerPhase()  # what that was above its limit: a car that rounds up does so at the next one, too
    phases: tuple[Phase, ...] | None = None  # measured site phases; None: all that it is wired to
    phases_pending: tuple[Phase, ...] | None = None
    phases_since_ms: int = 0
    below_since_ms: int | None = None  # since when the car draws less than offered
    cap_ma: int | None = None  # what the car showed it can use
    caps_ma: Mapping[CapSource, int] = attrs.field(factory=dict)  # what others let it have
    idle_since_ms: int | None = None  # since when it draws nothing although offered
    cut_short: bool = False  # it drew when it was last told to pause, and has not drawn since
    wish: Wish | None = None  # what was said of the car of this session
    served_ms: int = 0  # time it was given current while it wanted some, for the turns
    rank: int = 0  # its place in the present rotation window
    offered_ma: int = 0  # the limit decided last
    grant: Grant | None = None  # and why
    paused_window: int | None = None  # the rotation window in which it was last paused for others
    disobeys_ms: int | None = None  # since when it draws more than it was told
    disobeyed: int = 0  # readings in a row above the limit
    took_ma: int = 0  # the most that it drew while it ignored its limit
    obeys_since_ms: int | None = None  # since when it keeps to a limit again
    stop_asked_ms: int | None = None
    undue_ms: int | None = None  # since when it draws on although it must have nothing and refuses 0 A
    ceiling_ma: int = 0  # what was promised to the disk as the most it may hold…
    ceiling_left_ma: int = 0  # …and as the most that it gives when nothing more is heard


@attrs.frozen
class TurnedAway:
    """Who was refused under the id of a station last, and why."""

    at: datetime
    address: str
    reason: TurnedAwayFor


@attrs.frozen
class StationState:
    """All that is known of a station that is configured or has connected."""

    online: bool = False
    met: bool = False  # it has connected, some time
    since_ms: int = 0  # when it connected, was lost, or was configured
    accepted: bool = False  # its boot was answered Accepted
    address: str = ""
    path: str = ""
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
    capabilities: Capabilities = Capabilities()
    clock_ahead_ms: int | None = None  # unknown since its boot
    clock_due_ms: int | None = None  # it has a link anew: by then a stamp must bear out what is known of its clock
    connectors: tuple[int, ...] = ()
    configuration: Mapping[str, str] = attrs.field(factory=dict)  # its keys, as far as they were read
    inoperative: frozenset[int] = frozenset()  # connectors that a person took out of use; 0: the station
    reset_ms: int | None = None  # when it was last told to restart, by a person
    turned_away: TurnedAway | None = None


@attrs.frozen(slots=False)  # copied with every sample (`copies.changed`)
class MeterPhase:
    """One phase of a meter: its last believed value and how far it can be trusted."""

    current_ma: int | None = None
    seen_ms: int | None = None  # when it was last believed
    good_since_ms: int | None = None  # since when every sample was good
    lost: bool = False  # the safe limit holds until it has been good for 30 s
    high_ma: int = 0  # the most that the building may draw: rises at once…
    fell_ms: int | None = None  # …falls when every charging station has reported since then
    peak_ma: int = 0  # the highest since then
    fell_to_ma: int = 0  # the lowest since then


@attrs.frozen(slots=False)  # likewise
class MeterState:
    """The meter of a node."""

    phases: Mapping[Phase, MeterPhase] = attrs.field(factory=dict)
    taken_ms: int | None = None  # when the last fresh sample was asked for
    period_ms: int = 1_000  # its own measured period
    fingerprint: int | None = None
    changed_ms: int | None = None  # when any register last changed
    frozen: bool = False
    drawn_ma: PerPhase = PerPhase()  # what the stations drew when a register last changed
    voltage_mv: tuple[int | None, int | None, int | None] = (None, None, None)
    power_w: int | None = None
    energy_import_wh: int | None = None


@attrs.frozen
class Allowance:
    """How much charging may take at a node and phase; grows only after it was free for the hold time."""

    limit_ma: int
    rising_since_ms: int | None = None
    rising_to_ma: int = 0

    @property
    def is_rising(self) -> bool:
        """Whether more is free, as long as it stays so."""
        return self.rising_since_ms is not None and self.rising_to_ma > self.limit_ma


@attrs.frozen
class LimitChange:
    """A limit that was sent, what it was before, and why it is not more."""

    at: datetime
    station_id: str
    connector: int
    before_ma: int
    limit_ma: int
    reason: GrantReason | None
    limited_by: Binding | None


@attrs.frozen
class NodeView:
    """A node as decided on the last tick, for people."""

    node: str
    limit_ma: PerPhase
    total_ma: PerPhase | None  # measured, building included
    stations_ma: PerPhase
    worst_ma: PerPhase  # what its stations may draw at the most
    free_ma: PerPhase
    room_ma: PerPhase = PerPhase()  # what its stations may take
    external: tuple[Phase, ...] = ()  # where that is less because of a limit from outside
    over_since_ms: int | None = None  # since when what flows is above the limit


@attrs.frozen
class FoundBadge:
    """A badge that was held to a station during a scan; `known`: it was a badge of ours before."""

    id_tag: str
    station_id: str
    at: datetime
    known: bool


@attrs.frozen
class BadgeScan:
    """The last search for badges: it runs until `until_ms`, and what it found stays to be seen."""

    by: str
    stations: frozenset[str] | None  # None: all
    until_ms: int
    found: tuple[FoundBadge, ...] = ()

    def is_open(self, now_ms: int) -> bool:
        return now_ms < self.until_ms


@attrs.frozen
class LimitState:
    """An external limit, and whether it holds now."""

    record: LimitRecord
    heard_ms: int  # when its sender was last heard
    holds: bool = False
    began_ms: int | None = None  # since when it holds without a break
    silent: bool = False  # its sender did not keep it alive

    @property
    def is_gone(self) -> bool:
        """Whether it can never hold again."""
        return self.record.ended in (Ended.OVER, Ended.WITHDRAWN)


@attrs.frozen
class CpoAsk:
    """A badge that waits for the CPO's verdict, and the requests that wait with it.

    `session` is the one that it began: no limit is given to it before.
    """

    station_id: str
    id_tag: str
    since_ms: int
    requests: tuple[int, ...]
    session: Session | None = None


@attrs.frozen
class PhaseStep:
    """A limit was changed: what the meter showed, and what this connector and all others drew, before."""

    at_ms: int
    meter_ma: PerPhase
    own_ma: PerPhase
    others_ma: PerPhase


@attrs.frozen
class PhaseCheck:
    """Whether the meter sees a connector's steps where `rotation` says: `witnesses` in a row saw them at `seems`."""

    rotation: tuple[Phase, ...]
    step: PhaseStep | None = None
    witnesses: int = 0
    seems: tuple[Phase, ...] | None = None


@attrs.frozen(slots=False)  # copied with every fact (`copies.changed`)
class State:
    """Everything that `step` knows; restored by `recover`, changed by `step` alone."""

    site: Site = Site()
    factory: bool = True  # nobody has set a password yet: no station above 0 A
    storage_failing: str | None = None
    stations: Mapping[str, StationState] = attrs.field(factory=dict)
    connectors: Mapping[Key, ConnectorState] = attrs.field(factory=dict)
    strangers: Mapping[Key, Reading] = attrs.field(factory=dict)  # what the never adopted are seen to draw
    meters: Mapping[str, MeterState] = attrs.field(factory=dict)
    phase_checks: Mapping[Key, PhaseCheck] = attrs.field(factory=dict)
    allowances: Mapping[tuple[str, Phase], Allowance] = attrs.field(factory=dict)
    badges: Mapping[str, Badge] = attrs.field(factory=dict)
    recent: Mapping[int, Session] = attrs.field(factory=dict)  # ended sessions, newest last, bounded
    refusals: tuple[RefusedStart, ...] = ()
    badge_scan: BadgeScan | None = None
    station_scan: StationScan | None = None
    reservations: Mapping[tuple[str, int], Reservation] = attrs.field(factory=dict)  # by station and number
    commissions: Mapping[str, Commission] = attrs.field(factory=dict)  # the last one of each station
    local_lists: Mapping[str, LocalList] = attrs.field(factory=dict)  # what lies in the stations
    reports: Mapping[str, tuple[StationReport, ...]] = attrs.field(factory=dict)  # of adopted stations, newest last
    limits: Mapping[str, LimitState] = attrs.field(factory=dict)  # from outside, ended ones too (the last hundred)
    next_limit: int = 1
    clock_doubt: ClockDoubt | None = None  # how far our clock may be off since it was set
    nodes: Mapping[str, NodeView] = attrs.field(factory=dict)
    changes: tuple[LimitChange, ...] = ()  # the last limits that were sent, newest last
    alarms: Mapping[tuple[AlarmCode, str], Alarm] = attrs.field(factory=dict)
    uplink: Mapping[str, UplinkStatus] = attrs.field(factory=dict)  # how each station stands with the CPO
    cpo_asks: Mapping[int, CpoAsk] = attrs.field(factory=dict)
    cpo_verdicts: Mapping[str, CpoVerdict] = attrs.field(factory=dict)  # the last of each badge, newest last, bounded
    cpo_unstopped: Mapping[int, int | None] = attrs.field(factory=dict)  # ended without a stop, since when
    next_ask: int = 1
    next_seq: int = 1
    next_transaction_id: int = 1
    next_order: int = 1
    latest_utc: datetime | None = None  # the latest instant ever recorded
    window: int = 0  # the number of the present rotation window
    ticked_ms: int | None = None
    clocked_ms: int | None = None  # up to when the time of sessions is counted
    raised_ms: int | None = None  # when the last round of increases left
    leases_from_ms: int = 0  # leases from before are renewed at once (our clock stepped)
    noted_ms: int = 0
    intervened_ms: int | None = None  # when the guard last had to step in

    def badge(self, id_tag: str | None) -> Badge | None:
        """The badge that a tag stands for, by the rules of this site."""
        return find_badge(id_tag, self.badges, self.site.badge_rules.byte_order) if id_tag is not None else None

    def latest(self, session: Session) -> Session:
        """An open session as it is known now: what is stored of it may lack a minute of readings."""
        connector = self.connectors.get((session.station_id, session.connector))
        known = connector.session if connector is not None else None
        same = known is not None and known.transaction_id == session.transaction_id
        return known if known is not None and same and session.is_open else session
