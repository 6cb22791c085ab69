"""The OCPP 1.6J central system: stations come in over WebSockets, the core's commands go out.

Theory of operation
    `attach` is the whole life of one link, whatever carries it; `listen` puts WebSockets in front of it, with caps
    that a crowd of silent or hostile peers runs into before the stations do.

    A station that calls again takes the place of its old link: at once from the same address, since only a dead link
    makes a station call twice. From another address anybody could be calling (without a key, nobody can tell two
    stations with one id apart), so the old link is asked for a sign of life first, and if it gives one, the newcomer
    is refused and shown in `contested`. What a replaced link still says or closes no longer counts.
Source: OCPP-J 1.6 §3 (connection), §5.3 (reconnecting).
"""

from __future__ import annotations

import asyncio
import http
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from llm_adapters.ocpp16 import calls, identity
from llm_adapters.ocpp16.conversation import Conversation
from llm_adapters.ocpp16.frames import MAX_FRAME_BYTES, MAX_FRAME_BYTES_BEFORE_AUTHENTICATION
from llm_adapters.ocpp16.limits import refused
from llm_adapters.ocpp16.memory import Memory
from llm_adapters.ocpp16.rpc import Bounds, Link
from llm_core import (
    AskReading,
    CallOutcome,
    ClearLimit,
    Clock,
    Inbox,
    InviteBoot,
    Json,
    SetLimit,
    StationCommand,
    StationConnected,
    StationDisconnected,
    StopRemotely,
)

_log = logging.getLogger("llm.ocpp")
_wire_log = logging.getLogger("llm.ocpp.wire")
_wire_log.setLevel(logging.CRITICAL)  # what strangers do to a handshake is no news, and could fill a disk

PROBE_S = 2.0
CLOSE_S = 1.0
LONGEST_PATH = 256
MOST_CONTESTED = 100
_POLICY = 1008
_TRY_LATER = 1013


@attrs.frozen
class Caps:
    """How many may be connected: sockets in all and from one address, and stations that nobody has adopted.

    `handshake_s` is how long a socket may take until it is one of them.
    """

    total: int = 1_024
    per_address: int = 256
    pending: int = 20
    handshake_s: float = 10.0


class StationServer:
    """Every station below; implements `Stations` and `StationCalls`."""

    def __init__(self, inbox: Inbox, clock: Clock, caps: Caps | None = None) -> None:
        self._inbox = inbox
        self._clock = clock
        self._caps = caps or Caps()
        self._conversations: dict[str, Conversation] = {}
        self._memories: dict[str, Memory] = {}
        self._probed: set[str] = set()
        self._contested: dict[str, str] = {}
        self._sockets: Counter[str] = Counter()

    @property
    def contested(self) -> dict[str, str]:
        """Stations whose id a second one used meanwhile, and the address it last called from."""
        return dict(self._contested)

    def perform(self, command: StationCommand) -> None:
        """Queue a command for its station; returns at once. A limit for a station without a link is refused."""
        conversation = self._conversations.get(command.station_id)
        if conversation is not None:
            conversation.perform(command)
            return
        match command:
            case SetLimit() | ClearLimit():
                self._inbox.post(refused(command, "not sent: offline"))
            case StopRemotely() | AskReading() | InviteBoot():
                _log.info("%s is offline: %s was not sent", command.station_id, type(command).__name__)

    async def call(
        self, station_id: str, action: str, payload: Mapping[str, Json], *, deadline_s: int = 10
    ) -> CallOutcome:
        """The port `StationCalls`: one call to a station that is connected, however it ends."""
        conversation = self._conversations.get(station_id)
        return calls.OFFLINE if conversation is None else await conversation.call(action, payload, deadline_s)

    async def attach(self, link: Link, station_id: str, address: str, path: str) -> str:
        """Serve one link of a station from beginning to end; returns why it ended."""
        if not self._has_room(station_id):
            await link.close(_TRY_LATER, "too many unknown stations")
            return "too many unknown stations"
        if not await self._may_replace(station_id, address):
            self._contest(station_id, address)
            await link.close(_POLICY, "this id is in use")
            return "its id is in use"
        self._part(self._conversations.get(station_id))
        conversation = self._converse(link, station_id, address)
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
        async with serve(
            self._welcome,
            host,
            port,
            ssl=tls,
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
            create_connection=self._counted_connection(),
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
        if station_id in self._conversations or self._is_known(station_id):
            return True
        pending = sum(not self._is_known(connected) for connected in self._conversations)
        return pending < self._caps.pending

    async def _may_replace(self, station_id: str, address: str) -> bool:
        """Whether a link from `address` may take the station's place: one newcomer is judged at a time."""
        while True:
            present = self._conversations.get(station_id)
            if present is None or present.address == address:
                return True
            if station_id in self._probed:
                return False
            self._probed.add(station_id)
            try:
                if await present.answers(PROBE_S):
                    return False
            finally:
                self._probed.discard(station_id)
            if self._conversations.get(station_id) is present:
                return True

    def _contest(self, station_id: str, address: str) -> None:
        _log.warning("%s: a second station with this id calls from %s and is refused", station_id, address)
        self._contested.pop(station_id, None)
        self._contested[station_id] = address
        while len(self._contested) > MOST_CONTESTED:
            del self._contested[next(iter(self._contested))]

    def _converse(self, link: Link, station_id: str, address: str) -> Conversation:
        memory = self._memories.setdefault(station_id, Memory.of(station_id))
        size = MAX_FRAME_BYTES if self._is_known(station_id) else MAX_FRAME_BYTES_BEFORE_AUTHENTICATION
        conversation = Conversation(link, memory, address, self._inbox, self._clock, Bounds(frame_bytes=size))
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
        path = connection.request.path if connection.request is not None else ""
        station_id = identity.station_id(path)
        if station_id is not None:
            await self.attach(connection, station_id, _address(connection.transport), path)

    def _check_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse before the upgrade what need not be upgraded."""
        station_id = identity.station_id(request.path)
        if station_id is None:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "The path must end in the id of the station.\n")
        offered = request.headers.get_all("Sec-WebSocket-Protocol")
        if isinstance(identity.choose_subprotocol(offered), identity.Refused):
            return connection.respond(http.HTTPStatus.BAD_REQUEST, "This is an OCPP 1.6J central system.\n")
        if not self._has_room(station_id):
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "Too many unknown stations.\n")
        if "Upgrade" in request.headers and "Connection" not in request.headers:
            request.headers["Connection"] = "Upgrade"  # some stations leave it out
        return None

    def _counted_connection(self) -> type[ServerConnection]:
        """Connections that count from the first packet on, so that silent ones run into the caps as well."""
        sockets, caps = self._sockets, self._caps

        class Counted(ServerConnection):
            _counted_as: str | None = None

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                address = _address(transport)
                if sockets.total() >= caps.total or sockets[address] >= caps.per_address:
                    self.transport.abort()
                    return
                self._counted_as = address
                sockets[address] += 1

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                if self._counted_as is not None:
                    sockets.subtract((self._counted_as,))
                    if not sockets[self._counted_as]:
                        del sockets[self._counted_as]

        return Counted


def _select_subprotocol(_connection: ServerConnection, offered: Any) -> Subprotocol | None:
    chosen = identity.choose_subprotocol(offered)
    if isinstance(chosen, identity.Accepted) and chosen.subprotocol is not None:
        return Subprotocol(chosen.subprotocol)
    return None


def _address(transport: asyncio.BaseTransport) -> str:
    """The peer's address without its port, empty where there is none any more."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""
