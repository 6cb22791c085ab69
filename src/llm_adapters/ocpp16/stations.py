"""The OCPP 1.6J central system: stations come in over WebSockets, the core's commands go out.

Theory of operation
    `attach` is the whole life of one link, whatever carries it; `listen` puts WebSockets in front of it, with caps
    that a crowd of silent or hostile peers runs into before the stations do.

    A station that calls again takes the place of its old link; one that has proven to be the station always does. Of
    any other nobody can tell whether it is a second station with the same id, so the old link is asked first, and
    while somebody answers there, the newcomer is refused. From the same address it is most likely the station itself,
    whose old socket may be open still and answer pings with nobody behind it: there only a message counts. What a
    replaced link still says or closes no longer counts.
Source: OCPP-J 1.6 §3 (connection), §5.3 (reconnecting), §6 (security).
"""

from __future__ import annotations

import asyncio
import http
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from llm_adapters.ocpp16 import calls, commissioning, identity
from llm_adapters.ocpp16.admission import Admitted, Caller, NoKeys, certified_names, judge
from llm_adapters.ocpp16.conversation import Conversation
from llm_adapters.ocpp16.crowd import Crowd
from llm_adapters.ocpp16.frames import MAX_FRAME_BYTES, MAX_FRAME_BYTES_BEFORE_AUTHENTICATION
from llm_adapters.ocpp16.limits import untold
from llm_adapters.ocpp16.local_list import AT_ONCE
from llm_adapters.ocpp16.memory import Memory
from llm_adapters.ocpp16.rpc import Bounds, Link
from llm_adapters.ocpp16.signing import Certify
from llm_adapters.ocpp16.upstream import Nobody, Upstream
from llm_adapters.ocpp16.vendors import VendorHooks
from llm_core import (
    AskReading,
    CallOutcome,
    ClearLimit,
    Clock,
    CommissionWish,
    Inbox,
    InviteBoot,
    Json,
    KeyHandover,
    ModelMemory,
    SetLimit,
    State,
    StationCommand,
    StationConnected,
    StationDisconnected,
    StationKeys,
    StationTurnedAway,
    StopRemotely,
    TurnedAwayFor,
)

_log = logging.getLogger("llm.ocpp")
_wire_log = logging.getLogger("llm.ocpp.wire")
_wire_log.setLevel(logging.CRITICAL)  # what strangers do to a handshake is no news, and could fill a disk

PROBE_S = 2.0
CLOSE_S = 1.0
LONGEST_PATH = 256
TOLD_AGAIN_S = 10.0  # a refusal for the same reason is told once in so long
BACKLOG = 512
_POLICY = 1008
_TRY_LATER = 1013


@attrs.frozen
class Caps:
    """How many may be connected: sockets in all and from one address, and stations that nobody has adopted.

    `handshake_s` is how long a socket may take until it is a station.
    """

    total: int = 2_048
    per_address: int = 1_200  # a site of a thousand stations behind one address
    pending: int = 20
    handshake_s: float = 10.0


class StationServer:
    """Every station below; implements `Stations` and `StationCalls`."""

    def __init__(
        self,
        inbox: Inbox,
        clock: Clock,
        caps: Caps | None = None,
        *,
        keys: StationKeys | None = None,
        models: ModelMemory | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._inbox = inbox
        self._clock = clock
        self._caps = caps or Caps()
        self._keys = keys or NoKeys()
        self._models = models
        self._bounds = bounds or Bounds()
        self.vendors = VendorHooks()
        self._conversations: dict[str, Conversation] = {}
        self._memories: dict[str, Memory] = {}
        self._probed: set[str] = set()
        self._commissions: dict[str, asyncio.Task[None]] = {}
        self._kept_out: dict[str, float] = {}
        self.upstream: Upstream = Nobody()
        self.certify: Certify | None = None
        """Signs the certificates of stations, where an authority of ours is in use."""
        self._list_turns = asyncio.Semaphore(AT_ONCE)
        self._told: dict[str, tuple[TurnedAwayFor, float]] = {}
        self._crowd = Crowd(self._caps.total, self._caps.per_address, self._caps.handshake_s)

    def perform(self, command: StationCommand) -> None:
        """Queue a command for its station; returns at once. A limit for a station without a link is refused."""
        conversation = self._conversations.get(command.station_id)
        if conversation is not None:
            conversation.perform(command)
            return
        match command:
            case SetLimit() | ClearLimit():
                self._inbox.post(untold(command, "not sent: offline"))
            case StopRemotely() | AskReading() | InviteBoot():
                _log.info("%s is offline: %s was not sent", command.station_id, type(command).__name__)

    async def call(
        self, station_id: str, action: str, payload: Mapping[str, Json], *, deadline_s: int = 10
    ) -> CallOutcome:
        """The port `StationCalls`: one call to a station that is connected, however it ends."""
        conversation = self._conversations.get(station_id)
        return calls.OFFLINE if conversation is None else await conversation.call(action, payload, deadline_s)

    async def hand_key(self, station_id: str, key: bytes) -> KeyHandover:
        """Have a station that is connected use `key` from its next connection on."""
        conversation = self._conversations.get(station_id)
        return KeyHandover.OFFLINE if conversation is None else await conversation.hand_key(key)

    def look(self, before: State, after: State) -> None:
        """Told of every step of the core: where badges or rules changed, the lists of the stations are stale."""
        if before.badges is after.badges and before.site is after.site:
            return
        for conversation in self._conversations.values():
            conversation.local_list.refresh()

    def commission(self, station_id: str, by: str, wish: CommissionWish) -> bool:
        """Begin a commissioning test of a station that is connected and not under test; returns at once."""
        running = self._commissions.get(station_id)
        if station_id not in self._conversations or (running is not None and not running.done()):
            return False
        bench = commissioning.Bench(
            station_id,
            by,
            wish,
            partial(self.call, station_id),
            partial(self._cut, station_id),
            self._memories[station_id],
            self._inbox,
            self._clock,
        )
        task = asyncio.create_task(commissioning.commission(bench), name=f"commission {station_id}")
        self._commissions[station_id] = task
        task.add_done_callback(partial(self._commissioned, station_id))
        return True

    def _commissioned(self, station_id: str, task: asyncio.Task[None]) -> None:
        if self._commissions.get(station_id) is task:
            del self._commissions[station_id]
        if not task.cancelled() and task.exception() is not None:
            _log.error("%s: its commissioning test failed", station_id, exc_info=task.exception())

    def _cut(self, station_id: str, seconds: float) -> None:
        """End the link of a station and keep it out for a while, as if the network had failed."""
        self._kept_out[station_id] = asyncio.get_running_loop().time() + seconds
        conversation = self._conversations.get(station_id)
        if conversation is not None:
            conversation.retire()

    def _is_kept_out(self, station_id: str) -> bool:
        until = self._kept_out.get(station_id)
        if until is None:
            return False
        if asyncio.get_running_loop().time() < until:
            return True
        del self._kept_out[station_id]
        return False

    async def attach(
        self, link: Link, station_id: str, address: str, path: str, *, proven: bool = False, encrypted: bool = False
    ) -> str:
        """Serve one link of a station from beginning to end; returns why it ended.

        `proven`: whoever calls has shown that it is the station.
        """
        if not self._has_room(station_id):
            await link.close(_TRY_LATER, "there is no room for this station now")
            return "there was no room for it"
        if not await self._may_replace(station_id, address, proven=proven):
            self._turned_away(station_id, address, TurnedAwayFor.ID_IN_USE)
            await link.close(_POLICY, "this id is in use")
            return "its id is in use"
        self._part(self._conversations.get(station_id))
        conversation = self._converse(link, station_id, address)
        conversation.signing.trusted = proven and encrypted
        conversation.signing.certify = self.certify
        self._inbox.post(StationConnected(station_id, address, path[:LONGEST_PATH]))
        _log.info("%s connected from %s", station_id, address)
        try:
            why = await conversation.run()
            _log.info("%s: link ended: %s", station_id, why)
            return why
        except Exception:
            _log.exception("%s: a fault of ours ended its link", station_id)
            raise
        finally:
            if self._conversations.get(station_id) is conversation:
                self._part(conversation)

    @asynccontextmanager
    async def listen(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        """Accept stations while the context lasts; gives the port, which the system chooses for port 0."""
        listener = await asyncio.to_thread(_listener, host, port)
        async with serve(
            self._welcome,
            sock=self._crowd.door(listener),
            ssl=tls,
            ssl_handshake_timeout=self._caps.handshake_s if tls is not None else None,
            compression=None,
            ping_interval=None,  # the session pings, and takes any message for a sign of life
            open_timeout=self._caps.handshake_s,
            close_timeout=CLOSE_S,
            max_size=MAX_FRAME_BYTES,
            max_queue=4,
            process_request=self._check_request,
            select_subprotocol=_select_subprotocol,
            server_header=None,
            logger=_wire_log,
            create_connection=StationConnection,
        ) as server:
            yield next(iter(server.sockets)).getsockname()[1]

    async def serve(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """Accept stations until cancelled."""
        async with self.listen(host, port, tls=tls):
            await asyncio.get_running_loop().create_future()

    # -- one link for each station -----------------------------------------------------------------------------------

    def _is_known(self, station_id: str) -> bool:
        return self._inbox.state.site.station(station_id) is not None

    def _has_room(self, station_id: str) -> bool:
        if self._is_kept_out(station_id):
            return False
        if station_id in self._conversations or self._is_known(station_id):
            return True
        pending = sum(not self._is_known(connected) for connected in self._conversations)
        return pending < self._caps.pending

    async def _may_replace(self, station_id: str, address: str, *, proven: bool) -> bool:
        """Whether a link from `address` may take the station's place: one that proved nothing is judged at a time."""
        while True:
            present = self._conversations.get(station_id)
            if present is None:
                return True
            is_near = present.address == address
            if proven:
                if not is_near:
                    await present.answers(PROBE_S)
                return True
            if station_id in self._probed:
                return False
            self._probed.add(station_id)
            try:
                if await present.answers(PROBE_S, in_words=is_near):
                    return False
            finally:
                self._probed.discard(station_id)
            if self._conversations.get(station_id) is present:
                return True

    def _turned_away(self, station_id: str, address: str, reason: TurnedAwayFor) -> None:
        """Say it in the log and on the page of the station; somebody who goes on trying is no news."""
        if station_id not in self._inbox.state.stations and station_id not in self._conversations:
            return
        now = asyncio.get_running_loop().time()
        self._told = {who: what for who, what in self._told.items() if now - what[1] < TOLD_AGAIN_S}
        if self._told.get(station_id, (None, now))[0] is reason:
            return
        self._told[station_id] = (reason, now)
        _log.warning("%s: somebody at %s used this id and was refused: %s", station_id, address, reason.value)
        self._inbox.post(StationTurnedAway(station_id, address, reason))

    def _converse(self, link: Link, station_id: str, address: str) -> Conversation:
        memory = self._memories.setdefault(station_id, Memory.of(station_id, self._models))
        size = MAX_FRAME_BYTES if self._is_known(station_id) else MAX_FRAME_BYTES_BEFORE_AUTHENTICATION
        bounds = attrs.evolve(self._bounds, frame_bytes=size)
        conversation = Conversation(
            link, memory, address, self._inbox, self._clock, bounds, self.vendors, self.upstream
        )
        conversation.local_list.turns = self._list_turns
        self._conversations[station_id] = conversation
        return conversation

    def _part(self, conversation: Conversation | None) -> None:
        """The station is gone from this link; what is known of a stranger goes with it."""
        if conversation is None:
            return
        conversation.retire()
        del self._conversations[conversation.station_id]
        if not self._is_known(conversation.station_id):
            del self._memories[conversation.station_id]
        self._inbox.post(StationDisconnected(conversation.station_id))

    # -- WebSockets --------------------------------------------------------------------------------------------------

    async def _welcome(self, connection: ServerConnection) -> None:
        self._crowd.prove(connection.transport)
        path = connection.request.path if connection.request is not None else ""
        station_id = identity.station_id(path)
        if station_id is not None:
            proven = isinstance(connection, StationConnection) and connection.proven
            encrypted = connection.transport.get_extra_info("ssl_object") is not None
            address = _address(connection.transport)
            await self.attach(connection, station_id, address, path, proven=proven, encrypted=encrypted)

    async def _check_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse before the upgrade what need not be upgraded."""
        station_id = identity.station_id(request.path)
        if station_id is None:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "The path must end in the id of the station.\n")
        offered = request.headers.get_all("Sec-WebSocket-Protocol")
        if isinstance(identity.choose_subprotocol(offered), identity.Refused):
            return connection.respond(http.HTTPStatus.BAD_REQUEST, "This is an OCPP 1.6J central system.\n")
        station = self._inbox.state.site.station(station_id)
        if station is not None:
            judgement = await judge(_caller(station_id, connection, request), station.security_profile, self._keys)
            if not isinstance(judgement, Admitted):
                self._turned_away(station_id, _address(connection.transport), judgement)
                response = connection.respond(http.HTTPStatus.UNAUTHORIZED, f"{judgement.value}\n")
                response.headers["WWW-Authenticate"] = 'Basic realm="OCPP"'
                return response
            if isinstance(connection, StationConnection):
                connection.proven = judgement.proven
        if not self._has_room(station_id):
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "There is no room for this station now.\n")
        if "Upgrade" in request.headers and "Connection" not in request.headers:
            request.headers["Connection"] = "Upgrade"  # some stations leave it out
        return None


class StationConnection(ServerConnection):
    """A WebSocket whose station may have proven who it is."""

    proven: bool = False


def _caller(station_id: str, connection: ServerConnection, request: Request) -> Caller:
    given = request.headers.get_all("Authorization")
    tls: ssl.SSLObject | None = connection.transport.get_extra_info("ssl_object")
    return Caller(
        station_id,
        given[0] if len(given) == 1 else None,
        encrypted=tls is not None,
        names=certified_names(tls.getpeercert() if tls is not None else None),
    )


def _listener(host: str, port: int) -> socket.socket:
    """A listening socket; `OSError` where there can be none."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _select_subprotocol(_connection: ServerConnection, offered: Any) -> Subprotocol | None:
    chosen = identity.choose_subprotocol(offered)
    if isinstance(chosen, identity.Accepted) and chosen.subprotocol is not None:
        return Subprotocol(chosen.subprotocol)
    return None


def _address(transport: asyncio.BaseTransport) -> str:
    """The peer's address without its port, empty where there is none any more."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""
