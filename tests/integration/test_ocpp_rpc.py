"""The OCPP session over real loopback sockets, and its deadlines in virtual time over a link in memory."""

from __future__ import annotations

import asyncio
import json
import selectors
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from patience import PATIENCE_S, fair_s
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import Close

from llm_adapters.ocpp16.frames import MAX_FRAME_BYTES, ErrorCode
from llm_adapters.ocpp16.rpc import (
    Bounds,
    CallAbandoned,
    CallRefused,
    CallTimeout,
    Handler,
    LinkLost,
    Refuse,
    Session,
)

# -- a station on a real socket -------------------------------------------------------------------------


async def polite(action: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Answers Heartbeat and Echo, knows nothing else."""
    if action == "Heartbeat":
        return {"currentTime": "2026-01-01T00:00:00Z"}
    if action == "Echo":
        return payload
    raise Refuse(ErrorCode.NOT_IMPLEMENTED, f"{action} is not known")


class Served:
    """A station's socket, our end of it and the session that serves it."""

    def __init__(
        self, station: ClientConnection, our_end: ServerConnection, session: Session, running: asyncio.Task[str]
    ) -> None:
        self.station = station
        self.our_end = our_end
        self.session = session
        self.running = running

    async def answer_to(self, call: str, unique_id: str) -> list[Any]:
        """Send `call`, skip what is not for `unique_id`, return its answer."""
        await self.station.send(call)
        async with asyncio.timeout(90):
            while True:
                message: list[Any] = json.loads(await self.station.recv())
                if message[0] in (3, 4) and message[1] == unique_id:
                    return message


@asynccontextmanager
async def served(
    handle: Handler, bounds: Bounds | None = None, at_once: frozenset[str] = frozenset()
) -> AsyncIterator[Callable[[], Awaitable[Served]]]:
    """A server on loopback; each call of what it yields connects one more station."""
    arrived: asyncio.Queue[tuple[ServerConnection, Session, asyncio.Task[str]]] = asyncio.Queue()

    async def on_connection(connection: ServerConnection) -> None:
        session = Session(connection, handle, bounds, at_once=at_once)
        running = asyncio.create_task(session.run())
        arrived.put_nowait((connection, session, running))
        await running

    stations: list[ClientConnection] = []
    async with serve(
        on_connection, "127.0.0.1", 0, compression=None, ping_interval=None, max_size=MAX_FRAME_BYTES, close_timeout=1
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]

        async def station() -> Served:
            connection = await connect(
                f"ws://127.0.0.1:{port}/CP", compression=None, proxy=None, ping_interval=None, close_timeout=1
            )
            stations.append(connection)
            return Served(connection, *await arrived.get())

        try:
            yield station
        finally:
            for connection in stations:
                connection.transport.abort()


MALFORMED: list[str | bytes] = [
    "",
    "null",
    "{}",
    "[]",
    "[2]",
    '[2,"m"]',
    '[2,"m",["Heartbeat"],{}]',
    '[2,"m",{"a":1},{}]',
    '[2,{"a":1},"Heartbeat",{}]',
    '[2,["m"],"Heartbeat",{}]',
    '[2,null,"Heartbeat",{}]',
    '[2,"m","Heartbeat",[1]]',
    '[2,"m","Heartbeat",NaN]',
    '[2,"m","' + "X" * 10_000 + '",{}]',
    '[2,"m","Unknown",{}]',
    '[9,"m","Heartbeat",{}]',
    '[[],"m","Heartbeat",{}]',
    '[2,"m","Heartbeat",{"n":' + "9" * 5_000 + "}]",
    '[2,"m","Heartbeat",' + '{"a":' * 50_000,
    "[" * 500_000,
    b"[" * 500_000,
    b'[2,"m","Heartbeat",{"a":"\xff"}]',
    '[2,"m","Heartbeat",{"a":"\\ud800"}]',
]


@pytest.mark.parametrize("frame", MALFORMED, ids=lambda frame: repr(frame[:24]))
def test_a_malformed_frame_is_answered_and_the_next_call_served(frame: str | bytes) -> None:
    async def scenario() -> None:
        async with served(polite) as connect_station:
            link = await connect_station()
            await link.station.send(frame)
            async with asyncio.timeout(PATIENCE_S):
                complaint = json.loads(await link.station.recv())
            readable = b',"m"' in (frame if isinstance(frame, bytes) else frame.encode())
            assert complaint[:2] == [4, "m" if readable else "-1"]
            assert complaint[2] == ("NotImplemented" if '"Unknown"' in str(frame) else "FormationViolation")
            answer = await link.answer_to('[2,"good","Heartbeat",{}]', "good")
            assert answer == [3, "good", {"currentTime": "2026-01-01T00:00:00Z"}]

    asyncio.run(scenario())


@pytest.mark.parametrize("answer", ["[3]", "[4]", '[3,"x",[1]]', '[4,"x",7]', '[3,"x",{', ' [3,"x",{}]', '[3,"x"]'])
def test_an_answer_nobody_waits_for_is_dropped_and_the_next_call_served(answer: str) -> None:
    async def scenario() -> None:
        async with served(polite) as connect_station:
            link = await connect_station()
            await link.station.send(answer)
            await link.station.send('[2,"good","Heartbeat",{}]')
            async with asyncio.timeout(PATIENCE_S):
                assert json.loads(await link.station.recv())[:2] == [3, "good"]
            stats = link.session.stats
            assert (stats.received, stats.malformed + stats.unknown_results) == (2, 1)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "raw",
    [
        b"\x81\xff" + (10 * 2**20).to_bytes(8, "big") + bytes(4) + b"[" * 10_000,
        b"\x81\x83" + bytes(4) + b"[\xff]",
        b"\xc1\x83" + bytes(4) + b"[2]",
        b"\x83\x83" + bytes(4) + b"[2]",
    ],
    ids=["10 MiB frame", "text that is no UTF-8", "compressed though not agreed", "unknown opcode"],
)
def test_a_broken_websocket_is_closed_and_the_other_station_served(raw: bytes) -> None:
    async def scenario() -> None:
        async with served(polite) as connect_station:
            bad, good = await connect_station(), await connect_station()
            bad.station.transport.write(raw)
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(ConnectionClosed):
                    await bad.station.recv()
                await bad.running
            assert (await good.answer_to('[2,"1","Heartbeat",{}]', "1"))[0] == 3

    asyncio.run(scenario())


def text_frame(text: str) -> bytes:
    """A masked WebSocket text frame with the mask 0, for texts under 126 bytes."""
    return bytes((0x81, 0x80 | len(text))) + bytes(4) + text.encode()


def test_60_000_unsolicited_results_cost_little_memory_and_the_station_is_still_served() -> None:
    async def scenario() -> None:
        async with served(polite) as connect_station:
            link = await connect_station()
            flood = b"".join(text_frame(f'[3,"{number}",{{"status":"Accepted"}}]') for number in range(60_000))
            tracemalloc.start()
            link.station.transport.write(flood)
            assert (await link.answer_to('[2,"1","Heartbeat",{}]', "1"))[0] == 3
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert link.session.stats.unknown_results == 60_000
            assert peak_bytes < 50_000_000

    asyncio.run(scenario())


def test_a_flood_of_calls_waits_in_bounded_memory_and_is_answered_in_order() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        handled: list[int] = []

        async def slow(_action: str, payload: dict[str, Any]) -> dict[str, Any]:
            await gate.wait()
            handled.append(payload["number"])
            return {}

        async with served(slow, Bounds(waiting_bytes=200_000)) as connect_station:
            link = await connect_station()
            filler = "x" * 50_000

            sent = 0

            async def flood() -> None:
                nonlocal sent
                for number in range(1_000):
                    await link.station.send(json.dumps([2, str(number), "Data", {"number": number, "x": filler}]))
                    sent += 1

            tracemalloc.start()
            flooding = asyncio.create_task(flood())
            sent_before = -1
            while sent_before < sent:  # until it stands still
                sent_before = sent
                await asyncio.sleep(0.2)
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert not flooding.done()
            assert peak_bytes < 10_000_000
            gate.set()
            async with asyncio.timeout(PATIENCE_S):
                answered = [json.loads(await link.station.recv())[1] for _ in range(1_000)]
            await flooding
            assert answered == [str(number) for number in range(1_000)]
            assert handled == list(range(1_000))

    asyncio.run(scenario())


def test_a_disconnect_fails_every_pending_call_within_100_ms() -> None:
    async def scenario() -> None:
        async with served(polite) as connect_station:
            link = await connect_station()
            calls = [asyncio.create_task(link.session.call("Reset", {}, deadline_s=PATIENCE_S)) for _ in range(3)]
            await link.station.recv()
            lost_s = fair_s()
            link.station.transport.abort()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert fair_s() - lost_s < 0.1
            assert [type(result) for result in results] == [LinkLost] * 3
            await link.running
            with pytest.raises(LinkLost):
                await link.session.call("Reset", {}, deadline_s=PATIENCE_S)

    asyncio.run(scenario())


def test_a_handler_may_call_over_its_own_session() -> None:
    async def scenario() -> None:
        link: Served

        async def curious(action: str, _payload: dict[str, Any]) -> dict[str, Any]:
            return await link.session.call("GetConfiguration", {"for": action}, deadline_s=PATIENCE_S)

        async with served(curious) as connect_station:
            link = await connect_station()
            await link.station.send('[2,"1","BootNotification",{}]')
            async with asyncio.timeout(PATIENCE_S):
                kind, unique_id, action, payload = json.loads(await link.station.recv())
                assert (kind, action, payload) == (2, "GetConfiguration", {"for": "BootNotification"})
                await link.station.send(json.dumps([3, unique_id, {"key": "value"}]))
                assert json.loads(await link.station.recv()) == [3, "1", {"key": "value"}]

    asyncio.run(scenario())


def test_answers_are_read_while_a_handler_works() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        async def slow(_action: str, _payload: dict[str, Any]) -> dict[str, Any]:
            await gate.wait()
            return {}

        async with served(slow) as connect_station:
            link = await connect_station()
            await link.station.send('[2,"1","StartTransaction",{}]')
            calling = asyncio.create_task(link.session.call("Reset", {}, deadline_s=PATIENCE_S))
            unique_id = json.loads(await link.station.recv())[1]
            await link.station.send(json.dumps([3, unique_id, {"status": "Accepted"}]))
            assert await calling == {"status": "Accepted"}
            gate.set()
            assert json.loads(await link.station.recv()) == [3, "1", {}]

    asyncio.run(scenario())


def test_what_is_answered_at_once_still_waits_for_what_came_before_it() -> None:
    async def scenario() -> None:
        gate, handled = asyncio.Event(), []

        async def handle(action: str, _payload: dict[str, Any]) -> dict[str, Any]:
            if action == "Slow":
                await gate.wait()
            handled.append(action)
            return {}

        async with served(handle, at_once=frozenset({"Quick"})) as connect_station:
            link = await connect_station()
            for number in range(300):  # more than are answered in one go
                assert (await link.answer_to(f'[2,"q{number}","Quick",{{}}]', f"q{number}"))[0] == 3
            await link.station.send('[2,"slow","Slow",{}]')
            await link.station.send('[2,"quick","Quick",{}]')
            await link.station.send('[2,"quick","Quick",{}]')
            gate.set()
            assert (await link.answer_to('[2,"last","Quick",{}]', "last"))[0] == 3
            assert handled[300:] == ["Slow", "Quick", "Quick"], "and what is repeated acts once"

    asyncio.run(scenario())


@pytest.mark.parametrize("frame", ['[2,"x","Quick",{"a":1', '[2,"x","Quick",7]', '[2,"x","Quick" ,[1]]'])
def test_what_only_begins_like_a_call_that_is_answered_at_once_is_refused(frame: str) -> None:
    async def scenario() -> None:
        async with served(polite, at_once=frozenset({"Quick"})) as connect_station:
            link = await connect_station()
            assert (await link.answer_to(frame, "x"))[2] == "FormationViolation"
            assert (await link.answer_to('[2,"y","Quick",{}]', "y"))[2] == "NotImplemented"
            assert (await link.answer_to('[2,"1","Heartbeat",{}]', "1"))[0] == 3

    asyncio.run(scenario())


def test_a_peer_that_does_not_read_is_cut_off() -> None:
    async def scenario() -> None:
        async def verbose(_action: str, _payload: dict[str, Any]) -> dict[str, Any]:
            return {"data": "x" * 1_000_000}

        async with served(verbose, Bounds(send_s=0.3, close_s=0.3)) as connect_station:
            link = await connect_station()
            link.station.transport.pause_reading()
            for number in range(20):
                await link.station.send(f'[2,"{number}","Data",{{}}]')
            async with asyncio.timeout(PATIENCE_S):
                assert await link.running == "the peer does not read"
            began_s = fair_s()
            async with asyncio.timeout(PATIENCE_S):
                await link.our_end.wait_closed()
            assert fair_s() - began_s < 0.2

    asyncio.run(scenario())


# -- deadlines in virtual time, over a link in memory ---------------------------------------------------


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: where it would, its clock jumps instead."""

    def __init__(self) -> None:
        self._at_s = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._at_s

    def jump(self, seconds: float) -> None:
        self._at_s += seconds


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing left that could happen")
        self._loop.jump(timeout)
        return super().select(0)


def in_virtual_time(scenario: Coroutine[Any, Any, None]) -> None:
    """Run `scenario`; at its end, no task of a session may be left."""

    async def whole() -> None:
        await scenario
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())


class Wire:
    """A link in memory, held at the peer's end: what was sent when, and what the peer says next."""

    def __init__(self, *, reads: bool = True) -> None:
        self.sent: list[tuple[float, Any]] = []
        self.closed_with: int | None = None
        self._reads = reads
        self._frames: asyncio.Queue[str | None] = asyncio.Queue()

    def say(self, *message: object) -> None:
        self._frames.put_nowait(json.dumps(message))

    def hang_up(self) -> None:
        self._frames.put_nowait(None)

    def answer(self, index: int, payload: dict[str, Any]) -> None:
        """Answer the `index`th frame that was sent to the peer."""
        self.say(3, self.sent[index][1][1], payload)

    @property
    def actions(self) -> list[str]:
        return [message[2] for _, message in self.sent]

    async def send(self, message: str, /) -> None:
        if not self._reads:
            await asyncio.Event().wait()
        self.sent.append((asyncio.get_running_loop().time(), json.loads(message)))

    async def recv(self) -> str:
        frame = await self._frames.get()
        if frame is None:
            raise ConnectionClosedError(Close(1001, "gone"), None)
        return frame

    async def close(self, code: int, _reason: str, /) -> None:
        self.closed_with = code


class PingedWire(Wire):
    """A link that can be pinged; its peer pongs after `pong_s`, or never."""

    def __init__(self, pong_s: float | None) -> None:
        super().__init__()
        self._pong_s = pong_s

    async def ping(self) -> Awaitable[float]:
        loop = asyncio.get_running_loop()
        pong: asyncio.Future[float] = loop.create_future()
        if self._pong_s is not None:
            loop.call_later(self._pong_s, pong.set_result, self._pong_s)
        return pong


@asynccontextmanager
async def session_on(wire: Wire, handle: Handler = polite) -> AsyncIterator[Session]:
    session = Session(wire, handle)
    running = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def failure(calling: Awaitable[object]) -> tuple[type[BaseException], float]:
    """How `calling` fails, and when."""
    try:
        await calling
    except Exception as error:
        return type(error), round(now_s(), 3)
    raise AssertionError("it did not fail")


def calling(session: Session, action: str, deadline_s: float, urgent: bool = False) -> asyncio.Task[dict[str, Any]]:
    return asyncio.create_task(session.call(action, {}, deadline_s=deadline_s, urgent=urgent))


def test_one_call_is_out_at_a_time_and_they_go_in_order() -> None:
    async def scenario() -> None:
        wire = Wire()
        async with session_on(wire) as session:
            calls = [calling(session, name, 60) for name in ("First", "Second", "Third")]
            for index, name in enumerate(("First", "Second", "Third")):
                await asyncio.sleep(1)
                assert wire.actions == ["First", "Second", "Third"][: index + 1]
                wire.answer(index, {"to": name})
            assert await asyncio.gather(*calls) == [{"to": "First"}, {"to": "Second"}, {"to": "Third"}]

    in_virtual_time(scenario())


def test_one_deadline_covers_waiting_and_answering_and_what_waited_too_long_is_never_sent() -> None:
    async def scenario() -> None:
        wire = Wire()
        async with session_on(wire) as session:
            hung, waiting = calling(session, "Hung", 5), calling(session, "Waiting", 3)
            late = calling(session, "Late", 6)
            assert await failure(waiting) == (CallTimeout, 3.0)
            assert await failure(hung) == (CallTimeout, 5.0)
            assert await failure(late) == (CallTimeout, 6.0)
            assert [(at, message[2]) for at, message in wire.sent] == [(0.0, "Hung"), (5.0, "Late")]
            assert session.stats.abandoned == 3

    in_virtual_time(scenario())


def test_an_urgent_call_waits_one_second_and_the_late_answer_is_dropped() -> None:
    async def scenario() -> None:
        wire = Wire()
        async with session_on(wire) as session:
            hung, waiting = calling(session, "Hung", 60), calling(session, "Waiting", 60)
            await asyncio.sleep(10)
            urgent = calling(session, "Urgent", 5, urgent=True)
            assert await failure(hung) == (CallAbandoned, 11.0)
            await asyncio.sleep(0.1)
            assert wire.sent[1][0] == 11.0
            assert wire.actions == ["Hung", "Urgent"]
            wire.answer(0, {"late": True})
            wire.answer(1, {"status": "Accepted"})
            assert await urgent == {"status": "Accepted"}
            await asyncio.sleep(0.1)
            wire.answer(2, {"waited": True})
            assert await waiting == {"waited": True}
            assert (session.stats.unknown_results, session.stats.abandoned) == (1, 1)

    in_virtual_time(scenario())


def test_a_call_that_is_answered_in_time_is_not_given_up() -> None:
    async def scenario() -> None:
        wire = Wire()
        async with session_on(wire) as session:
            first = calling(session, "First", 60)
            await asyncio.sleep(0)
            urgent = calling(session, "Urgent", 60, urgent=True)
            await asyncio.sleep(0.9)
            wire.answer(0, {"in": "time"})
            assert await first == {"in": "time"}
            await asyncio.sleep(30)
            wire.answer(1, {"slow": "alone"})
            assert await urgent == {"slow": "alone"}
            assert session.stats.abandoned == 0

    in_virtual_time(scenario())


def test_each_call_in_the_way_of_urgent_ones_gets_its_own_second() -> None:
    async def scenario() -> None:
        wire = Wire()
        async with session_on(wire) as session:
            calls = [calling(session, name, 60, urgent=True) for name in ("A", "B", "C")]
            assert await failure(calls[0]) == (CallAbandoned, 1.0)
            assert await failure(calls[1]) == (CallAbandoned, 2.0)
            assert await failure(calls[2]) == (CallTimeout, 60.0)
            assert [at for at, _ in wire.sent] == [0.0, 1.0, 2.0]

    in_virtual_time(scenario())


def test_an_urgent_call_that_gave_up_itself_spares_the_one_in_the_way() -> None:
    async def scenario() -> None:
        wire = Wire()
        async with session_on(wire) as session:
            first = calling(session, "First", 60)
            await asyncio.sleep(0)
            assert await failure(calling(session, "Urgent", 0.5, urgent=True)) == (CallTimeout, 0.5)
            await asyncio.sleep(5)
            wire.answer(0, {})
            assert await first == {}

    in_virtual_time(scenario())


@pytest.mark.parametrize(
    ("answer", "code", "details"),
    [
        ([4, "NotSupported", "no", {"a": 1}], "NotSupported", {"a": 1}),
        ([4, "FormatViolation", "no", []], "FormationViolation", {}),
        ([4], "GenericError", {}),
        ([3, ["no", "object"]], "FormationViolation", {}),
    ],
)
def test_a_refused_call_says_why(answer: list[Any], code: str, details: dict[str, Any]) -> None:
    async def scenario() -> None:
        wire = Wire()
        async with session_on(wire) as session:
            refused = calling(session, "Reset", 5)
            await asyncio.sleep(0.1)
            wire.say(answer[0], wire.sent[0][1][1], *answer[1:])
            with pytest.raises(CallRefused) as caught:
                await refused
            assert (caught.value.code, caught.value.details) == (code, details)

    in_virtual_time(scenario())


def test_a_repeated_call_gets_the_same_answer_and_acts_once() -> None:
    async def scenario() -> None:
        acted: list[str] = []

        async def counting(action: str, _payload: dict[str, Any]) -> dict[str, Any]:
            acted.append(action)
            await asyncio.sleep(1)
            return {"transactionId": len(acted)}

        wire = Wire()
        async with session_on(wire, counting):
            for unique_id in ("a", "a", "b", "a"):
                wire.say(2, unique_id, "StartTransaction", {})
            await asyncio.sleep(10)
        assert [message[1:] for _, message in wire.sent] == [
            ["a", {"transactionId": 1}],
            ["a", {"transactionId": 1}],
            ["b", {"transactionId": 2}],
            ["a", {"transactionId": 1}],
        ]
        assert acted == ["StartTransaction"] * 2

    in_virtual_time(scenario())


def test_only_the_last_answers_are_remembered() -> None:
    async def scenario() -> None:
        acted: list[str] = []

        async def noting(_action: str, payload: dict[str, Any]) -> dict[str, Any]:
            acted.append(payload["id"])
            return {}

        wire = Wire()
        async with session_on(wire, noting):
            ids = [str(number) for number in range(Bounds().remembered_answers + 1)]
            for unique_id in (*ids, ids[1], ids[0]):
                wire.say(2, unique_id, "Data", {"id": unique_id})
            await asyncio.sleep(1)
        assert acted == [*ids, ids[0]]

    in_virtual_time(scenario())


def test_a_call_that_failed_is_tried_again_when_repeated() -> None:
    async def scenario() -> None:
        disk = iter((OSError("no space"), asyncio.CancelledError(), None))

        async def storing(_action: str, _payload: dict[str, Any]) -> dict[str, Any]:
            if (fault := next(disk)) is not None:
                raise fault
            return {"stored": True}

        wire = Wire()
        async with session_on(wire, storing) as session:
            for _ in range(3):
                wire.say(2, "a", "StopTransaction", {})
            await asyncio.sleep(1)
            assert [message[2] for _, message in wire.sent] == ["InternalError", "InternalError", {"stored": True}]
            assert session.stats.refused == 2

    in_virtual_time(scenario())


def test_no_badge_reaches_the_log_when_a_handler_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async def failing(_action: str, payload: dict[str, Any]) -> dict[str, Any]:
            raise ValueError(f"bad tag {payload['idTag']}")

        wire = Wire()
        async with session_on(wire, failing):
            wire.say(2, "a", "Authorize", {"idTag": "04A2B3C4D5E6"})
            await asyncio.sleep(1)
        assert "Authorize" in caplog.text
        assert "04A2B3C4D5E6" not in caplog.text + str(wire.sent)

    in_virtual_time(scenario())


def test_a_link_that_hangs_up_ends_the_session_and_fails_its_calls() -> None:
    async def scenario() -> None:
        wire = Wire()
        session = Session(wire, polite)
        running = asyncio.create_task(session.run())
        calls = [calling(session, name, 60) for name in ("Out", "Waiting")]
        await asyncio.sleep(5)
        wire.hang_up()
        assert [await failure(call) for call in calls] == [(LinkLost, 5.0)] * 2
        assert "gone" in await running

    in_virtual_time(scenario())


def test_an_owner_ends_a_session_by_cancelling_it() -> None:
    async def scenario() -> None:
        wire = Wire()
        async with session_on(wire) as session:
            pending = calling(session, "Reset", 60)
            await asyncio.sleep(1)
        assert wire.closed_with == 1000
        assert await failure(pending) == (LinkLost, 1.0)

    in_virtual_time(scenario())


def test_a_handler_at_work_ends_with_its_session() -> None:
    async def scenario() -> None:
        ended_at: list[float] = []

        async def endless(_action: str, _payload: dict[str, Any]) -> dict[str, Any]:
            try:
                await asyncio.Event().wait()
            finally:
                ended_at.append(now_s())
            return {}

        wire = Wire()
        running = asyncio.create_task(Session(wire, endless).run())
        wire.say(2, "a", "Authorize", {})
        await asyncio.sleep(5)
        wire.hang_up()
        async with asyncio.timeout(1):
            await running
        assert ended_at == [5.0]
        assert wire.sent == []

    in_virtual_time(scenario())


def test_a_peer_that_does_not_read_is_closed_after_ten_seconds_whatever_the_callers_do() -> None:
    async def scenario() -> None:
        wire = Wire(reads=False)
        session = Session(wire, polite)
        running = asyncio.create_task(session.run())
        assert await failure(calling(session, "Short", 3)) == (CallTimeout, 3.0)
        assert await failure(calling(session, "Long", 60)) == (LinkLost, 10.0)
        assert await running == "the peer does not read"
        assert wire.closed_with == 1008

    in_virtual_time(scenario())


def test_a_peer_without_a_sign_of_life_is_closed_after_forty_seconds() -> None:
    async def scenario() -> None:
        wire = PingedWire(pong_s=None)
        assert await Session(wire, polite).run() == "silent, and no answer to a ping"
        assert now_s() == pytest.approx(40)
        assert wire.closed_with == 1008

    in_virtual_time(scenario())


def test_a_peer_that_pongs_and_says_nothing_stays() -> None:
    async def scenario() -> None:
        wire = PingedWire(pong_s=15)
        async with session_on(wire) as session:
            await asyncio.sleep(3600)
            assert wire.closed_with is None
            assert now_s() - session.last_heard < 40

    in_virtual_time(scenario())


def test_a_peer_that_talks_and_never_pongs_stays() -> None:
    async def scenario() -> None:
        wire = PingedWire(pong_s=None)
        async with session_on(wire):
            for number in range(100):
                await asyncio.sleep(39)
                wire.say(2, str(number), "Heartbeat", {})
            await asyncio.sleep(1)
            assert wire.closed_with is None
            assert len(wire.sent) == 100

    in_virtual_time(scenario())
