"""The local authorisation list of one station, kept in step with the badges (OCPP 1.6 §3.5, §5.10, §5.15).

Theory of operation
    What the station is to hold is the core's to say; what lies in it is known by its version number and our record of
    what was sent under it. Where both agree nothing is sent: every list is a write to the station's flash. Where only
    some badges changed, the changes go; else the whole list, in pieces as large as the station takes. Versions only
    grow, because a station refuses a smaller one.

    A station without such a list is left alone until it comes with another firmware; one that refuses a list is asked
    again when the badges change, or when it connects again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TypeAlias
from zoneinfo import ZoneInfo

from llm_adapters.ocpp16.adoption import Configuration, read_configuration
from llm_adapters.ocpp16.messages import text, whole_number
from llm_core import (
    CallFailure,
    CallOutcome,
    Clock,
    Inbox,
    Json,
    ListedBadge,
    LocalList,
    LocalListTold,
    Now,
    StationState,
    listed_badges,
)

Place: TypeAlias = Callable[[str, Mapping[str, Json]], Awaitable[CallOutcome]]
Pieces: TypeAlias = list[tuple[str, list[Json]]]

SETTLE_S = 3.0  # several edits become one list
AGAIN_S = 600.0  # where a station did not answer
USUAL_PIECE = 20
USUAL_LENGTH = 100
MOST_PIECES = 500
AT_ONCE = 8  # a badge that changes makes a thousand lists stale at the same instant
NOT_SUPPORTED = "not supported"
_KEYS = (
    "LocalAuthListEnabled",
    "LocalAuthListMaxLength",
    "SendLocalListMaxLength",
    "LocalAuthorizeOffline",
    "SupportedFeatureProfiles",
)


class Refused(Exception):
    """The station holds no list; the text says why, in its own word where it has one."""


class Unanswered(Exception):
    """Nobody knows what the station holds now."""


class LocalListKeeper:
    """Keeps the list of one station for as long as its link lasts."""

    def __init__(
        self, station_id: str, place: Place, changed: set[tuple[str, str]], inbox: Inbox, clock: Clock
    ) -> None:
        """`changed` holds the changes of configuration that were tried: a station that restarts on one does so once."""
        self._station_id = station_id
        self._place = place
        self._changed = changed
        self._inbox = inbox
        self._clock = clock
        self.turns = asyncio.Semaphore(AT_ONCE)  # shared, where one server keeps many lists
        self._stale = asyncio.Event()
        self._held: dict[str, ListedBadge] | None = None  # what is known to lie there

    def refresh(self) -> None:
        """The badges or the rules may have changed, or the station is ready only now."""
        self._stale.set()

    async def run(self) -> None:
        """Bring the list up to date whenever it is stale, until cancelled."""
        while True:
            await self._stale.wait()
            await asyncio.sleep(SETTLE_S)
            self._stale.clear()
            if not self._is_due():
                continue
            try:
                async with self.turns:
                    await self._bring_up_to_date()
            except Refused as refusal:
                self._tell(refused=str(refusal))
            except Unanswered:
                self._held = None
                asyncio.get_running_loop().call_later(AGAIN_S, self._stale.set)

    @property
    def _station(self) -> StationState:
        return self._inbox.state.stations.get(self._station_id, StationState())

    @property
    def _known(self) -> LocalList:
        return self._inbox.state.local_lists.get(self._station_id, LocalList(self._station_id))

    def _is_due(self) -> bool:
        """Whether the station is ours, and did not refuse a list with this firmware before."""
        known = self._known
        given_up = known.refused == NOT_SUPPORTED and known.firmware == self._station.firmware
        return self._station.accepted and not given_up

    def _wanted(self) -> tuple[ListedBadge, ...]:
        state, utc = self._inbox.state, self._clock.utc()
        offset = utc.astimezone(ZoneInfo(state.site.system.time_zone)).utcoffset()
        now = Now(self._clock.monotonic_ms(), utc, int(offset.total_seconds()) if offset is not None else 0)
        return listed_badges(state, self._station_id, now)

    async def _bring_up_to_date(self) -> None:
        all_wanted, known = self._wanted(), self._known
        if not all_wanted and known.digest in ("", _digest(())):
            return  # nothing of ours lies there: whatever does is somebody else's, such as the CPO's
        configuration = await self._configuration()
        version = await self._version()
        length = configuration.number("LocalAuthListMaxLength") or USUAL_LENGTH
        wanted = all_wanted[:length]
        if (version, _digest(wanted)) == (known.version, known.digest):
            self._held = {badge.id_tag: badge for badge in wanted}
            return
        piece = max(1, configuration.number("SendLocalListMaxLength") or USUAL_PIECE)
        told = {badge.id_tag: badge for badge in wanted}
        newest = max(version, known.version)
        changes = version == known.version and self._held is not None
        pieces = list(_changes(self._held or {}, told, piece)) if changes else list(_whole(told, piece))
        try:
            newest = await self._send(pieces, newest)
        except Refused:
            if not changes:
                raise
            newest = await self._send(list(_whole(told, piece)), newest + len(pieces))
        if set(self._held or {}) - set(told):
            await self._answered("ClearCache", {})  # what it remembers of a badge opens it as the list did
        self._held = told
        self._tell(version=newest, digest=_digest(wanted), held=len(wanted), wanted=len(all_wanted))

    async def _configuration(self) -> Configuration:
        """What the station tells of its list, which is switched on where it is off."""
        answer = await self._answered("GetConfiguration", {"key": list(_KEYS)})
        configuration = read_configuration(dict(answer.payload))
        profiles = configuration.text("SupportedFeatureProfiles").replace(" ", "").lower()
        if profiles and "localauthlistmanagement" not in profiles.split(","):
            raise Refused(NOT_SUPPORTED)
        for key in ("LocalAuthListEnabled", "LocalAuthorizeOffline"):
            if configuration.text(key).lower() == "false" and (key, "true") not in self._changed:
                self._changed.add((key, "true"))
                await self._answered("ChangeConfiguration", {"key": key, "value": "true"})
        return configuration

    async def _version(self) -> int:
        answer = await self._answered("GetLocalListVersion", {})
        if answer.failure is not None:
            raise Refused(NOT_SUPPORTED)
        version = whole_number(answer.payload.get("listVersion"))
        if version is None or version < 0:
            raise Refused(NOT_SUPPORTED)
        return version

    async def _send(self, pieces: Pieces, version: int) -> int:
        """Send the pieces under growing versions; returns the last one."""
        if len(pieces) > MOST_PIECES:
            raise Refused("too many pieces")
        for update, badges in pieces:
            version += 1
            payload: dict[str, Json] = {
                "listVersion": version,
                "updateType": update,
                "localAuthorizationList": badges,
            }
            answer = await self._answered("SendLocalList", payload)
            if answer.failure is not None or answer.status != "Accepted":
                raise Refused(text(answer.status) or text(answer.detail) or "refused")
        return version

    async def _answered(self, action: str, payload: Mapping[str, Json]) -> CallOutcome:
        outcome = await self._place(action, payload)
        if outcome.failure in (CallFailure.OFFLINE, CallFailure.TIMEOUT):
            raise Unanswered
        return outcome

    def _tell(self, *, version: int = 0, digest: str = "", held: int = 0, wanted: int = 0, refused: str = "") -> None:
        wanted = wanted or len(self._wanted())
        told = LocalList(self._station_id, version, digest, held, wanted, refused, self._station.firmware)
        self._inbox.post(LocalListTold(told))


def _whole(told: Mapping[str, ListedBadge], piece: int) -> Iterator[tuple[str, list[Json]]]:
    """The whole list: the first piece replaces what was there, the others add to it."""
    entries = [_entry(badge) for badge in told.values()]
    yield "Full", entries[:piece]
    for start in range(piece, len(entries), piece):
        yield "Differential", entries[start : start + piece]


def _changes(
    held: Mapping[str, ListedBadge], told: Mapping[str, ListedBadge], piece: int
) -> Iterator[tuple[str, list[Json]]]:
    """What differs; an entry without its `idTagInfo` is taken off the list."""
    gone: list[Json] = [{"idTag": tag} for tag in held if tag not in told]
    entries = gone + [_entry(badge) for tag, badge in told.items() if held.get(tag) != badge]
    for start in range(0, len(entries), piece):
        yield "Differential", entries[start : start + piece]


def _entry(badge: ListedBadge) -> Json:
    info: dict[str, Json] = {"status": "Accepted"}
    if badge.until is not None:
        info["expiryDate"] = badge.until.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"idTag": badge.id_tag, "idTagInfo": info}


def _digest(badges: Iterable[ListedBadge]) -> str:
    """A text that differs where lists differ, whatever their order."""
    lines = sorted(f"{badge.id_tag}|{badge.until or ''}" for badge in badges)
    return hashlib.blake2b("\n".join(lines).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
