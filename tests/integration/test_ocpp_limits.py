"""One link and its limits in virtual time: a scripted station in memory, deadlines to the second, quirks one by one."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest
from memory_inbox import EPOCH, LoopClock, MemoryInbox
from websockets.exceptions import ConnectionClosedError

from llm_adapters.ocpp16.stations import StationServer
from llm_adapters.virtual.profiles import ProfileStore, StoreRules, Transaction
from llm_core import (
    CapabilitiesFound,
    ClearLimit,
    ConnectorState,
    InviteBoot,
    Ledger,
    LimitConfirmed,
    LimitRefused,
    LimitUnanswered,
    Purpose,
    SetLimit,
    StationBooted,
    StationClockRead,
    StationConnected,
    StationDisconnected,
    StationTurnedAway,
    TurnedAwayFor,
)

Payload = dict[str, Any]
Answer = Payload | None  # None: no answer
LEVEL = "ChargeProfileMaxStackLevel"
FLOOR = SetLimit(1, "CP", 1, Purpose.FLOOR, 0, 0, None, None, 3, lowers=False)
RAISE = SetLimit(2, "CP", 1, Purpose.TRANSACTION, 16_000, 6_000, 120_000, 17, 3, lowers=False)
DECREASE = SetLimit(3, "CP", 2, Purpose.TRANSACTION, 6_000, 6_000, 120_000, 18, 3, lowers=True)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps where it would wait."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now_s


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing left that could happen")
        self._loop.now_s += timeout
        return super().select(0)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        await scenario()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())


class Script:
    """A station in memory: `answers` by action, each after `takes_s`; `asked` with the seconds since the start."""

    def __init__(self, takes_s: float = 0.0, **answers: Answer | Callable[[Payload], Answer]) -> None:
        self.takes_s = takes_s
        self.answers: dict[str, Any] = {
            "SetChargingProfile": {"status": "Accepted"},
            "ClearChargingProfile": {"status": "Unknown"},
            "TriggerMessage": {"status": "Accepted"},
            "GetConfiguration": {"configurationKey": [{"key": "ChargeProfileMaxStackLevel", "value": "1"}]},
            "ChangeConfiguration": {"status": "Accepted"},
        } | answers
        self.asked: list[tuple[float, str, Payload]] = []
        self.heard: list[Any] = []
        self.is_closed = False
        self._frames: asyncio.Queue[str | None] = asyncio.Queue()
        self._calls = 0

    # the link, as the server sees it

    async def send(self, message: str, /) -> None:
        if self.is_closed:
            raise ConnectionClosedError(None, None)
        frame = json.loads(message)
        if frame[0] != 2:
            self.heard.append(frame)
            return
        _, unique_id, action, payload = frame
        self.asked.append((asyncio.get_running_loop().time() - 1_000, action, payload))
        answer = self.answers.get(action)
        answer = answer(payload) if callable(answer) else answer
        if answer is not None:
            kind = [4, unique_id, answer["error"], "", {}] if "error" in answer else [3, unique_id, answer]
            asyncio.get_running_loop().call_later(self.takes_s, self._frames.put_nowait, json.dumps(kind))

    async def recv(self) -> str:
        frame = None if self.is_closed else await self._frames.get()
        if frame is None:
            self.is_closed = True
            raise ConnectionClosedError(None, None)
        return frame

    async def close(self, _code: int, _reason: str, /) -> None:
        self.hang_up()

    # the station

    def hang_up(self) -> None:
        self.is_closed = True
        self._frames.put_nowait(None)

    def say(self, action: str, **payload: Any) -> None:
        self._calls += 1
        self._frames.put_nowait(json.dumps([2, f"s{self._calls}", action, payload]))

    def profiles(self) -> list[Payload]:
        return [p["csChargingProfiles"] for _, action, p in self.asked if action == "SetChargingProfile"]

    def cleared(self) -> list[Payload]:
        return [payload for _, action, payload in self.asked if action == "ClearChargingProfile"]

    def when(self, action: str) -> list[float]:
        return [at for at, asked, _ in self.asked if asked == action]


@asynccontextmanager
async def linked(script: Script, *, accepted: bool = True) -> AsyncIterator[tuple[MemoryInbox, StationServer]]:
    inbox = MemoryInbox("CP")
    if accepted:
        inbox.accept("CP")
    server = StationServer(inbox, LoopClock())
    serving = asyncio.create_task(server.attach(script, "CP", "10.0.0.1", "/CP"))
    await asyncio.sleep(0)
    try:
        yield inbox, server
    finally:
        script.hang_up()
        await serving


def now_limit(profile: Payload) -> float:
    limit: float = profile["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"]
    return limit


async def outcome(inbox: MemoryInbox, seq: int) -> LimitConfirmed | LimitRefused | LimitUnanswered:
    kinds = LimitConfirmed | LimitRefused | LimitUnanswered
    found = await inbox.until(kinds, lambda event: event.seq == seq)  # type: ignore[arg-type]
    assert len([event for event in inbox.events if isinstance(event, kinds) and event.seq == seq]) == 1
    return found


def test_a_limit_without_an_answer_is_unanswered_after_10_seconds() -> None:
    async def scenario() -> None:
        async with linked(Script(SetChargingProfile=None)) as (inbox, server):
            server.perform(RAISE)
            started = asyncio.get_running_loop().time()
            assert isinstance(await outcome(inbox, RAISE.seq), LimitUnanswered)
            assert asyncio.get_running_loop().time() - started == pytest.approx(10, abs=0.1)

    run(scenario)


def test_a_decrease_waits_one_second_for_a_call_that_hangs() -> None:
    async def scenario() -> None:
        script = Script(SetChargingProfile=lambda p: None if p["connectorId"] == 1 else {"status": "Accepted"})
        async with linked(script) as (inbox, server):
            server.perform(RAISE)
            await asyncio.sleep(0.1)
            server.perform(DECREASE)
            assert isinstance(await outcome(inbox, DECREASE.seq), LimitConfirmed)
            assert script.when("SetChargingProfile") == [0, pytest.approx(1.1, abs=0.05)]
            assert isinstance(await outcome(inbox, RAISE.seq), LimitUnanswered)

    run(scenario)


def test_only_the_latest_of_several_unsent_limits_goes_out() -> None:
    async def scenario() -> None:
        script = Script()
        async with linked(script) as (inbox, server):
            script.answers["SetChargingProfile"] = None
            server.perform(RAISE)
            await asyncio.sleep(0.1)
            for seq, limit_ma in ((10, 8_000), (11, 9_000), (12, 10_000)):
                server.perform(attrs.evolve(RAISE, seq=seq, limit_ma=limit_ma))
            script.answers["SetChargingProfile"] = {"status": "Accepted"}
            assert isinstance(await outcome(inbox, 12), LimitConfirmed)
            superseded = inbox.all(LimitRefused)
            assert [(event.seq, event.reason) for event in superseded] == [(10, "superseded"), (11, "superseded")]
            limits = [now_limit(profile) for profile in script.profiles()]
            assert limits == [16, 10]

    run(scenario)


def test_a_raise_that_a_decrease_has_passed_is_not_sent_after_it() -> None:
    """A decrease elsewhere hangs, a raise waits behind it; the decrease for the same connector goes first and last."""

    async def scenario() -> None:
        script = Script(SetChargingProfile=lambda p: {"status": "Accepted"} if p["connectorId"] == 1 else None)
        async with linked(script) as (inbox, server):
            server.perform(DECREASE)
            await asyncio.sleep(0.1)
            server.perform(RAISE)
            await asyncio.sleep(0.1)
            lower = attrs.evolve(RAISE, seq=20, limit_ma=6_000, then_ma=6_000, lowers=True)
            server.perform(lower)
            assert isinstance(await outcome(inbox, lower.seq), LimitConfirmed)
            told = await outcome(inbox, RAISE.seq)
            assert isinstance(told, LimitRefused)
            assert told.reason == "superseded"
            assert [p["connectorId"] for _, action, p in script.asked if action == "SetChargingProfile"] == [2, 1]
            assert now_limit(script.profiles()[-1]) == 6

    run(scenario)


@pytest.mark.parametrize(("waits_s", "sent"), [(3.9, True), (4.1, False)])
def test_a_raise_that_has_waited_until_it_is_too_old_is_not_sent(waits_s: float, sent: bool) -> None:
    """A call elsewhere hangs, then the station answers again; what a raise was decided on is good for 4 s."""

    async def scenario() -> None:
        script = Script(SetChargingProfile=None)
        async with linked(script) as (inbox, server):
            server.perform(attrs.evolve(RAISE, seq=20, connector=2))
            await asyncio.sleep(10 - waits_s)
            script.answers["SetChargingProfile"] = {"status": "Accepted"}
            server.perform(attrs.evolve(RAISE, not_after_ms=LoopClock().monotonic_ms() + 4_000))
            told = await outcome(inbox, RAISE.seq)
            assert isinstance(told, LimitConfirmed) == sent
            if isinstance(told, LimitRefused):
                assert (told.reason, told.untold) == ("not sent in time", True)
            assert len(script.profiles()) == 1 + sent

    run(scenario)


@pytest.mark.parametrize("answer", [{"status": "Rejected"}, {"status": "NotSupported"}, {"error": "InternalError"}])
def test_a_station_that_says_no_refuses(answer: Payload) -> None:
    async def scenario() -> None:
        async with linked(Script(SetChargingProfile=answer)) as (inbox, server):
            server.perform(RAISE)
            told = await outcome(inbox, RAISE.seq)
            assert isinstance(told, LimitRefused)
            assert told.reason

    run(scenario)


@pytest.mark.parametrize("answer", [{}, {"status": "Maybe"}, {"status": 5}])
def test_an_answer_that_says_nothing_leaves_it_open(answer: Payload) -> None:
    async def scenario() -> None:
        async with linked(Script(SetChargingProfile=answer)) as (inbox, server):
            server.perform(RAISE)
            assert isinstance(await outcome(inbox, RAISE.seq), LimitUnanswered)

    run(scenario)


def takes(wanted: Callable[[Payload], bool]) -> Callable[[Payload], Answer]:
    def answer(payload: Payload) -> Answer:
        return {"status": "Accepted" if wanted(payload["csChargingProfiles"]) else "Rejected"}

    return answer


@pytest.mark.parametrize(
    ("command", "wants", "found"),
    [
        (DECREASE, lambda p: p["chargingSchedule"]["chargingRateUnit"] == "W", {"in_watts": True}),
        (
            attrs.evolve(RAISE, limit_ma=13_500),
            lambda p: now_limit(p) == 13,
            {"step_ma": 1_000},
        ),
        (FLOOR, lambda p: p["chargingProfileKind"] == "Absolute", {}),
    ],
)
def test_a_refused_limit_is_worded_otherwise_and_that_is_remembered(
    command: SetLimit, wants: Callable[[Payload], bool], found: dict[str, Any]
) -> None:
    async def scenario() -> None:
        script = Script(SetChargingProfile=takes(wants))
        async with linked(script) as (inbox, server):
            server.perform(command)
            assert isinstance(await outcome(inbox, command.seq), LimitConfirmed)
            told = inbox.all(CapabilitiesFound)[0].capabilities
            assert {name: getattr(told, name) for name in found} == found
            tried = len(script.profiles())
            assert tried > 1
            server.perform(attrs.evolve(command, seq=99))
            assert isinstance(await outcome(inbox, 99), LimitConfirmed)
            assert len(script.profiles()) == tried + 1

    run(scenario)


def test_a_raise_is_never_found_out_to_be_watts_by_giving_them() -> None:
    """A car on one phase would get those of all three; a station on one phase has no other phase to give."""

    def watts(p: Payload) -> bool:
        return bool(p["chargingSchedule"]["chargingRateUnit"] == "W")

    async def scenario() -> None:
        for phases, kinds, given_w in ((3, LimitRefused, 0), (1, LimitConfirmed, 16 * 230)):
            script = Script(SetChargingProfile=takes(watts))
            async with linked(script) as (inbox, server):
                server.perform(attrs.evolve(RAISE, phases=phases))
                assert isinstance(await outcome(inbox, RAISE.seq), kinds)
                assert now_limit(script.profiles()[-1]) == given_w
                assert inbox.all(CapabilitiesFound)[-1].capabilities.in_watts
                server.perform(attrs.evolve(RAISE, seq=20, phases=phases))
                assert isinstance(await outcome(inbox, 20), LimitConfirmed)
                assert now_limit(script.profiles()[-1]) == 16 * 230 * phases

    run(scenario)


def test_a_raise_is_never_found_out_to_have_no_end_by_giving_it() -> None:
    """What follows a lease was fitted in with all others; a limit without an end would stay if we were gone."""

    def one_period(p: Payload) -> bool:
        return len(p["chargingSchedule"]["chargingSchedulePeriod"]) == 1

    async def scenario() -> None:
        for lowers, kinds, given_a in ((False, LimitRefused, 0), (True, LimitConfirmed, 16)):
            script = Script(SetChargingProfile=takes(one_period))
            async with linked(script) as (inbox, server):
                server.perform(attrs.evolve(RAISE, lowers=lowers))
                assert isinstance(await outcome(inbox, RAISE.seq), kinds)
                accepted = [profile for profile in script.profiles() if one_period(profile)]
                assert [now_limit(profile) for profile in accepted] == [given_a]
                assert not inbox.all(CapabilitiesFound)[-1].capabilities.decays
                server.perform(attrs.evolve(RAISE, seq=20))
                assert isinstance(await outcome(inbox, 20), LimitConfirmed)
                assert now_limit(script.profiles()[-1]) == 16

    run(scenario)


def test_other_wordings_are_tried_once_until_the_next_boot() -> None:
    async def scenario() -> None:
        script = Script(SetChargingProfile={"status": "Rejected"})
        async with linked(script) as (inbox, server):
            tries = []
            for seq in (20, 21):
                server.perform(attrs.evolve(RAISE, seq=seq))
                await outcome(inbox, seq)
                tries.append(len(script.profiles()))
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            await inbox.until(StationBooted)
            server.perform(attrs.evolve(RAISE, seq=22))
            await outcome(inbox, 22)
            tries.append(len(script.profiles()))
            assert tries == [8, 9, 17]  # four that stack, four in one place

    run(scenario)


@pytest.mark.parametrize(("command", "level"), [(RAISE, "2"), (FLOOR, "1")])
def test_what_may_be_told_above_level_1_or_lies_on_the_lowest_anyway_is_not_tried_in_one_place(
    command: SetLimit, level: str
) -> None:
    async def scenario() -> None:
        told = {"configurationKey": [{"key": LEVEL, "value": level}]}
        script = Script(SetChargingProfile={"status": "Rejected"}, GetConfiguration=told)
        async with linked(script) as (inbox, server):
            await inbox.until(CapabilitiesFound)
            server.perform(command)
            assert isinstance(await outcome(inbox, command.seq), LimitRefused)
            assert len(script.profiles()) == 4

    run(scenario)


def takes_watts_for_good(p: Payload) -> bool:
    """The last of the four wordings of a limit with a lease."""
    schedule = p["chargingSchedule"]
    return schedule["chargingRateUnit"] == "W" and len(schedule["chargingSchedulePeriod"]) == 1


def in_amps_for_good(p: Payload) -> bool:
    """The second of the four."""
    schedule = p["chargingSchedule"]
    return schedule["chargingRateUnit"] == "A" and len(schedule["chargingSchedulePeriod"]) == 1


@pytest.mark.parametrize("takes_s", [0.0, 3.0, 6.0])
def test_a_slow_station_has_time_to_refuse_every_wording_but_one(takes_s: float) -> None:
    async def scenario() -> None:
        script = Script(takes_s, SetChargingProfile=takes(takes_watts_for_good), GetConfiguration=None)
        async with linked(script) as (inbox, server):
            server.perform(DECREASE)
            assert isinstance(await outcome(inbox, DECREASE.seq), LimitConfirmed)
            assert len(script.profiles()) == 4
            assert inbox.all(CapabilitiesFound)[-1].capabilities.in_watts

    run(scenario)


def test_where_a_decrease_cuts_the_search_for_a_wording_short_the_next_limit_goes_on() -> None:
    async def scenario() -> None:
        script = Script(1.5, SetChargingProfile=takes(takes_watts_for_good), GetConfiguration=None)
        async with linked(script) as (inbox, server):
            server.perform(DECREASE)
            await asyncio.sleep(3.2)  # two wordings are refused, the third is on its way
            server.perform(attrs.evolve(DECREASE, seq=20, connector=1))
            assert isinstance(await outcome(inbox, DECREASE.seq), LimitUnanswered)
            assert isinstance(await outcome(inbox, 20), LimitConfirmed)
            assert len(script.profiles()) == 3 + 3  # the first wording once more, then those that were not refused

    run(scenario)


def test_a_wording_that_was_refused_once_and_is_taken_again_is_not_given_up() -> None:
    """It refused for another reason: what does not keep a lease is not tried in its place."""

    async def scenario() -> None:
        script = Script(1.5, SetChargingProfile={"status": "Rejected"}, GetConfiguration=None)
        async with linked(script) as (inbox, server):
            server.perform(DECREASE)
            await asyncio.sleep(3.2)
            server.perform(attrs.evolve(DECREASE, seq=20, connector=1))
            assert isinstance(await outcome(inbox, DECREASE.seq), LimitUnanswered)
            script.answers["SetChargingProfile"] = {"status": "Accepted"}
            assert isinstance(await outcome(inbox, 20), LimitConfirmed)
            assert not inbox.all(CapabilitiesFound)
            script.answers["SetChargingProfile"] = takes(in_amps_for_good)  # refused before, but not for its wording
            server.perform(attrs.evolve(DECREASE, seq=21))
            assert isinstance(await outcome(inbox, 21), LimitConfirmed)

    run(scenario)


def test_a_slow_station_is_asked_again_what_it_can_do_when_a_limit_had_to_pass_the_question() -> None:
    async def scenario() -> None:
        told = {"configurationKey": [{"key": "ChargingScheduleAllowedChargingRateUnit", "value": "Power"}]}
        script = Script(2.5, GetConfiguration=told)
        async with linked(script) as (inbox, server):
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            await asyncio.sleep(0.5)
            for given_up, seq in enumerate((20, 21, 22)):
                assert len(script.when("GetConfiguration")) == given_up + 1
                server.perform(attrs.evolve(DECREASE, seq=seq))
                assert isinstance(await outcome(inbox, seq), LimitConfirmed)
                await asyncio.sleep(0.5)
            found = await inbox.until(CapabilitiesFound)
            assert len(script.when("GetConfiguration")) == 4
            assert found.capabilities.in_watts

    run(scenario)


def test_what_was_written_before_one_place_was_known_is_cleared_before_a_limit_counts() -> None:
    """After our restart the transaction's own profile would go on hiding the one place in which limits lie now."""

    async def scenario() -> None:
        script = Script()
        script.answers["GetConfiguration"] = {
            "configurationKey": [
                {"key": "MaxChargingProfilesInstalled", "value": "2"},
                {"key": "ChargeProfileMaxStackLevel", "value": "1"},
            ]
        }
        async with linked(script) as (inbox, server):
            server.perform(RAISE)
            assert isinstance(await outcome(inbox, RAISE.seq), LimitConfirmed)
            assert script.profiles()[-1]["chargingProfilePurpose"] == "TxProfile"
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            await inbox.until(CapabilitiesFound)
            for seq in (20, 21):
                server.perform(attrs.evolve(DECREASE, seq=seq, connector=1))
                assert isinstance(await outcome(inbox, seq), LimitConfirmed)
            assert script.profiles()[-1]["chargingProfilePurpose"] == "TxDefaultProfile"
            places = [(p["chargingProfilePurpose"], p["stackLevel"]) for p in script.cleared()]
            assert sorted(places) == [("TxDefaultProfile", 1), ("TxProfile", 0), ("TxProfile", 1)]  # once

    run(scenario)


def test_a_raise_that_lies_there_is_not_untold_because_a_decrease_passes_while_its_way_is_cleared() -> None:
    async def scenario() -> None:
        few = {"configurationKey": [{"key": "MaxChargingProfilesInstalled", "value": "2"}]}
        script = Script(0.4, GetConfiguration=few, GetCompositeSchedule={"status": "Rejected"})
        async with linked(script) as (inbox, server):
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            await inbox.until(CapabilitiesFound)
            await asyncio.sleep(10.0)  # all other questions are answered
            server.perform(attrs.evolve(RAISE, seq=20))
            await asyncio.sleep(1.0)
            assert len(script.profiles()) == 1
            server.perform(attrs.evolve(DECREASE, seq=21, connector=1))
            assert isinstance(await outcome(inbox, 20), LimitUnanswered)
            assert isinstance(await outcome(inbox, 21), LimitConfirmed)

    run(scenario)


def test_once_a_station_is_known_to_have_one_place_a_clear_lays_no_floor_over_the_live_limit() -> None:
    async def scenario() -> None:
        script = Script()
        async with linked(script) as (inbox, server):
            default = attrs.evolve(RAISE, seq=20, purpose=Purpose.DEFAULT, transaction_id=None)
            for command in (FLOOR, default):
                server.perform(command)
                assert isinstance(await outcome(inbox, command.seq), LimitConfirmed)
            script.answers["GetConfiguration"] = {
                "configurationKey": [{"key": "MaxChargingProfilesInstalled", "value": "2"}]
            }
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            await inbox.until(CapabilitiesFound)
            for command in (attrs.evolve(DECREASE, seq=21, connector=1), ClearLimit(22, "CP", 1, Purpose.DEFAULT)):
                server.perform(command)
                assert isinstance(await outcome(inbox, command.seq), LimitConfirmed)
            assert now_limit(script.profiles()[-1]) == 6

    run(scenario)


def test_where_all_limits_share_one_place_a_floor_that_nobody_answered_is_written_again_by_the_next_clear() -> None:
    async def scenario() -> None:
        few = {"configurationKey": [{"key": "MaxChargingProfilesInstalled", "value": "2"}]}
        script = Script(GetConfiguration=few, GetCompositeSchedule={"status": "Rejected"})
        async with linked(script) as (inbox, server):
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            await inbox.until(CapabilitiesFound)
            for command in (FLOOR, attrs.evolve(DECREASE, seq=20, connector=1)):
                server.perform(command)
                assert isinstance(await outcome(inbox, command.seq), LimitConfirmed)
            script.answers["SetChargingProfile"] = None
            server.perform(ClearLimit(21, "CP", 1))
            assert isinstance(await outcome(inbox, 21), LimitUnanswered)
            script.answers["SetChargingProfile"] = {"status": "Accepted"}
            written = len(script.profiles())
            server.perform(ClearLimit(22, "CP", 1))
            assert isinstance(await outcome(inbox, 22), LimitConfirmed)
            assert [now_limit(profile) for profile in script.profiles()[written:]] == [0]

    run(scenario)


def test_the_floor_is_laid_again_where_a_live_default_may_have_taken_its_place() -> None:
    """A station may keep one profile of a purpose although it speaks of eight levels."""

    async def scenario() -> None:
        script = Script()
        async with linked(script) as (inbox, server):
            default = attrs.evolve(RAISE, seq=20, purpose=Purpose.DEFAULT, transaction_id=None)
            clears = (ClearLimit(21, "CP", 1, Purpose.TRANSACTION), ClearLimit(22, "CP", 1, Purpose.DEFAULT))
            for command in (FLOOR, default, *clears, ClearLimit(23, "CP", 1)):
                server.perform(command)
                assert isinstance(await outcome(inbox, command.seq), LimitConfirmed)
            order = [
                p["csChargingProfiles"]["stackLevel"] if "csChargingProfiles" in p else p.get("chargingProfilePurpose")
                for _, action, p in script.asked
                if action == "SetChargingProfile" or p.get("stackLevel") == 1
            ]
            assert order[-6:] == [0, 1, "TxProfile", 0, "TxDefaultProfile", None]  # first, once, and only then

    run(scenario)


def test_a_first_floor_is_confirmed_once_nothing_foreign_lies_above_it() -> None:
    async def scenario() -> None:
        script = Script(ClearChargingProfile=lambda p: {"status": "Accepted" if p["stackLevel"] == 2 else "Unknown"})
        script.answers["GetConfiguration"] = {"configurationKey": {"key": "chargeprofilemaxstacklevel", "value": 2}}
        async with linked(script) as (inbox, server):
            await inbox.until(CapabilitiesFound)
            server.perform(FLOOR)
            assert isinstance(await outcome(inbox, FLOOR.seq), LimitConfirmed)
            places = [(p["chargingProfilePurpose"], p["stackLevel"]) for p in script.cleared()]
            assert sorted(places) == [("TxDefaultProfile", 2), ("TxProfile", 0), ("TxProfile", 2)]
            order = [action for _, action, _ in script.asked if "ChargingProfile" in action]
            assert order[0] == order[-1] == "SetChargingProfile"  # written again: a clear may have taken it along
            server.perform(attrs.evolve(FLOOR, seq=9))
            await outcome(inbox, 9)
            assert len(script.cleared()) == 3

    run(scenario)


def test_two_floors_on_their_way_at_once_clear_each_place_and_both_are_confirmed() -> None:
    async def scenario() -> None:
        second = attrs.evolve(FLOOR, seq=9, lowers=True)

        def clears(_: Payload) -> Answer:
            if len(script.cleared()) == 1:
                server.perform(second)
            return {"status": "Unknown"}

        script = Script(ClearChargingProfile=clears)
        script.answers["GetConfiguration"] = {"configurationKey": {"key": "ChargeProfileMaxStackLevel", "value": 3}}
        async with linked(script) as (inbox, server):
            await inbox.until(CapabilitiesFound)
            server.perform(FLOOR)
            for seq in (FLOOR.seq, second.seq):
                assert isinstance(await outcome(inbox, seq), LimitConfirmed)
            assert not script.is_closed

    run(scenario)


class Stored(Script):
    """A station that keeps profiles by `rules`; what it tells of its configuration is `told`.

    `clears_all`: it reads no filter but the connector's.
    """

    def __init__(self, rules: StoreRules, *, clears_all: bool = False, **told: str) -> None:
        listed = [{"key": key, "value": value} for key, value in told.items()]
        super().__init__(
            SetChargingProfile=self.set_profile,
            ClearChargingProfile=self.clear_profile,
            GetConfiguration={"configurationKey": listed},
        )
        self.store = ProfileStore(rules)
        self.running: Transaction | None = Transaction(17, 0.0)
        self._clears_all = clears_all

    def set_profile(self, payload: Payload) -> Answer:
        taken = self.store.install(payload["connectorId"], payload["csChargingProfiles"], self.running)
        return {"status": "Accepted" if taken else "Rejected"}

    def clear_profile(self, payload: Payload) -> Answer:
        purpose, level = payload.get("chargingProfilePurpose"), payload.get("stackLevel")
        filters = {} if self._clears_all else {"purpose": purpose, "stack_level": level}
        gone = self.store.clear(connector=payload["connectorId"], **filters)
        return {"status": "Accepted" if gone else "Unknown"}

    def gives_a(self, connector: int = 1) -> float:
        """What a car may draw now, in a transaction or at the beginning of one."""
        return self.store.limit_a(connector, LoopClock().utc().timestamp(), self.running)


async def hold(inbox: MemoryInbox, server: StationServer, *commands: SetLimit) -> None:
    """One after the other; each is confirmed."""
    for command in commands:
        server.perform(command)
        assert isinstance(await outcome(inbox, command.seq), LimitConfirmed)


LEVEL_0_ONLY = StoreRules(max_stack_level=0)
DEFAULT = attrs.evolve(RAISE, seq=20, purpose=Purpose.DEFAULT, transaction_id=None)


@pytest.mark.parametrize("told", [{}, {"ChargeProfileMaxStackLevel": "1"}])
@pytest.mark.parametrize("live", [RAISE, DEFAULT])
def test_a_station_with_one_level_that_does_not_say_so_gets_its_limits_in_that_place(
    live: SetLimit, told: dict[str, str]
) -> None:
    async def scenario() -> None:
        script = Stored(LEVEL_0_ONLY, **told)
        async with linked(script) as (inbox, server):
            await inbox.until(CapabilitiesFound)
            for command, given_a in ((FLOOR, 0), (live, 16), (ClearLimit(4, "CP", 1), 0)):
                server.perform(command)
                assert isinstance(await outcome(inbox, command.seq), LimitConfirmed)
                assert script.gives_a() == given_a
            assert not inbox.all(CapabilitiesFound)[-1].capabilities.stacks
            levels = [profile["stackLevel"] for profile in script.profiles()]
            assert levels == [0, 1, 1, 1, 1, 0, 0]  # what stacks first, in every wording; the floor is back

    run(scenario)


def test_that_it_has_one_level_is_known_after_its_next_boot() -> None:
    async def scenario() -> None:
        script = Stored(LEVEL_0_ONLY)
        async with linked(script) as (inbox, server):
            await hold(inbox, server, FLOOR, RAISE)
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            found = await inbox.until(CapabilitiesFound, count=len(inbox.all(CapabilitiesFound)) + 1)
            assert not found.capabilities.stacks
            written = len(script.profiles())
            server.perform(attrs.evolve(RAISE, seq=20, limit_ma=10_000))
            assert isinstance(await outcome(inbox, 20), LimitConfirmed)
            assert len(script.profiles()) == written + 1
            assert script.gives_a() == 10

    run(scenario)


def test_a_raise_that_would_give_more_in_one_place_gives_nothing_there() -> None:
    """A car on one phase would get the watts of all three."""

    async def scenario() -> None:
        script = Stored(attrs.evolve(LEVEL_0_ONLY, units=("W",)))
        async with linked(script) as (inbox, server):
            server.perform(RAISE)
            assert isinstance(await outcome(inbox, RAISE.seq), LimitRefused)
            assert script.gives_a() == 0
            found = inbox.all(CapabilitiesFound)[-1].capabilities
            assert (found.stacks, found.in_watts) == (False, True)
            server.perform(attrs.evolve(RAISE, seq=20))
            assert isinstance(await outcome(inbox, 20), LimitConfirmed)
            assert script.gives_a() == 16

    run(scenario)


def test_a_limit_refused_since_its_transaction_is_over_is_written_to_no_other_place() -> None:
    """Else the share of a car that has left would be given to the next one, and the station be thought to have one
    place for good."""

    async def scenario() -> None:
        script = Stored(StoreRules())
        async with linked(script) as (inbox, server):
            server.perform(FLOOR)
            assert isinstance(await outcome(inbox, FLOOR.seq), LimitConfirmed)
            inbox.state = attrs.evolve(inbox.state, connectors={("CP", 1): ConnectorState(Ledger(None))})
            script.running = None
            server.perform(RAISE)
            assert isinstance(await outcome(inbox, RAISE.seq), LimitRefused)
            assert script.gives_a() == 0
            assert all(found.capabilities.stacks for found in inbox.all(CapabilitiesFound))
            inbox.state = attrs.evolve(inbox.state, connectors={})
            script.store.rules, script.running = LEVEL_0_ONLY, Transaction(17, 0.0)
            server.perform(attrs.evolve(RAISE, seq=20))  # a search that ended so goes on with the next
            assert isinstance(await outcome(inbox, 20), LimitConfirmed)
            assert script.gives_a() == 16

    run(scenario)


@pytest.mark.parametrize("purpose", [None, Purpose.TRANSACTION])
def test_the_floor_is_laid_before_a_clear_where_a_limit_took_its_place_before_levels_were_told(
    purpose: Purpose | None,
) -> None:
    async def scenario() -> None:
        script = Stored(LEVEL_0_ONLY)
        async with linked(script) as (inbox, server):
            await hold(inbox, server, FLOOR, RAISE)
            script.store.rules = StoreRules()
            script.answers["GetConfiguration"] = {"configurationKey": [{"key": LEVEL, "value": "8"}]}
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            await inbox.until(StationBooted)
            server.perform(attrs.evolve(RAISE, seq=20))  # before it told its levels
            await inbox.until(CapabilitiesFound, lambda found: found.capabilities.stacks, count=1)
            assert isinstance(await outcome(inbox, 20), LimitConfirmed)
            script.running = None
            assert script.gives_a() == 16
            server.perform(ClearLimit(21, "CP", 1, purpose))
            assert isinstance(await outcome(inbox, 21), LimitConfirmed)
            assert script.gives_a() == 0
            written = len(script.profiles())
            server.perform(ClearLimit(22, "CP", 1, Purpose.TRANSACTION))
            assert isinstance(await outcome(inbox, 22), LimitConfirmed)
            assert len(script.profiles()) == written  # once

    run(scenario)


def test_a_floor_that_the_core_writes_over_a_limit_in_its_place_needs_no_other() -> None:
    async def scenario() -> None:
        script = Stored(LEVEL_0_ONLY)
        async with linked(script) as (inbox, server):
            await hold(inbox, server, FLOOR, RAISE)
            script.answers["GetConfiguration"] = {"configurationKey": [{"key": LEVEL, "value": "8"}]}
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            await inbox.until(StationBooted)
            server.perform(attrs.evolve(RAISE, seq=20))
            assert isinstance(await outcome(inbox, 20), LimitConfirmed)
            await asyncio.sleep(1)
            assert inbox.all(CapabilitiesFound)[-1].capabilities.stacks
            server.perform(attrs.evolve(FLOOR, seq=21))
            assert isinstance(await outcome(inbox, 21), LimitConfirmed)
            written = len(script.profiles())
            server.perform(ClearLimit(22, "CP", 1))
            assert isinstance(await outcome(inbox, 22), LimitConfirmed)
            assert script.gives_a() == 0
            assert len(script.profiles()) == written

    run(scenario)


@pytest.mark.parametrize("purpose", [None, Purpose.TRANSACTION])
def test_a_station_that_clears_more_than_it_is_asked_to_has_its_floor_laid_again(purpose: Purpose | None) -> None:
    async def scenario() -> None:
        script = Stored(StoreRules(), clears_all=True, ChargeProfileMaxStackLevel="8")
        async with linked(script) as (inbox, server):
            await inbox.until(CapabilitiesFound)
            await hold(inbox, server, FLOOR, RAISE)
            assert script.gives_a() == 16
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")  # its firmware is the same
            await inbox.until(CapabilitiesFound, count=2)
            server.perform(ClearLimit(21, "CP", 1, purpose))
            assert isinstance(await outcome(inbox, 21), LimitConfirmed)
            assert script.gives_a() == 0
            script.answers["SetChargingProfile"] = {"status": "Rejected"}
            server.perform(ClearLimit(22, "CP", 1, purpose))
            assert isinstance(await outcome(inbox, 22), LimitRefused)  # nothing limits the next car there…
            script.answers["SetChargingProfile"] = script.set_profile
            server.perform(ClearLimit(23, "CP", 1, purpose))
            assert isinstance(await outcome(inbox, 23), LimitConfirmed)
            assert script.gives_a() == 0  # …until the floor lies, although there was nothing left to clear

    run(scenario)


def test_the_floor_is_laid_again_where_nobody_knows_what_a_broad_clear_took_along() -> None:
    async def scenario() -> None:
        script = Stored(StoreRules(), clears_all=True, ChargeProfileMaxStackLevel="8")
        async with linked(script) as (inbox, server):
            await inbox.until(CapabilitiesFound)
            await hold(inbox, server, FLOOR, RAISE)
            script.answers["ClearChargingProfile"] = lambda payload: script.clear_profile(payload) and None
            server.perform(ClearLimit(21, "CP", 1))
            assert isinstance(await outcome(inbox, 21), LimitUnanswered)
            script.answers["ClearChargingProfile"] = script.clear_profile
            server.perform(ClearLimit(22, "CP", 1))
            assert isinstance(await outcome(inbox, 22), LimitConfirmed)
            assert script.gives_a() == 0
            script.answers["ClearChargingProfile"] = {"status": "Unknown"}
            written = len(script.profiles())
            server.perform(ClearLimit(23, "CP", 1))
            assert isinstance(await outcome(inbox, 23), LimitConfirmed)
            assert len(script.profiles()) == written  # nothing was cleared: it still lies there

    run(scenario)


def test_a_station_that_clears_what_it_is_asked_to_is_not_written_to_by_a_clear() -> None:
    async def scenario() -> None:
        script = Stored(StoreRules(), ChargeProfileMaxStackLevel="8")
        async with linked(script) as (inbox, server):
            await inbox.until(CapabilitiesFound)
            for command in (FLOOR, RAISE, ClearLimit(4, "CP", 1, Purpose.TRANSACTION)):
                server.perform(command)
                assert isinstance(await outcome(inbox, command.seq), LimitConfirmed)
            assert script.gives_a() == 0
            assert len(script.profiles()) == 2

    run(scenario)


@pytest.mark.parametrize("status", ["Accepted", "Unknown"])
def test_nothing_to_clear_is_cleared(status: str) -> None:
    async def scenario() -> None:
        script = Script(ClearChargingProfile={"status": status})
        async with linked(script) as (inbox, server):
            server.perform(ClearLimit(5, "CP", 1))
            assert isinstance(await outcome(inbox, 5), LimitConfirmed)
            assert script.cleared() == [{"connectorId": 1, "stackLevel": 1}]

    run(scenario)


def test_a_station_without_room_keeps_one_profile_and_clearing_brings_the_floor_back() -> None:
    async def scenario() -> None:
        script = Script()
        script.answers["GetConfiguration"] = {
            "configurationKey": [
                {"key": "ChargeProfileMaxStackLevel", "readonly": True, "value": "0"},
                {"key": "ChargingScheduleAllowedChargingRateUnit", "value": "Power"},
                {"key": "ChargingScheduleMaxPeriods"},
            ]
        }
        async with linked(script) as (inbox, server):
            found = (await inbox.until(CapabilitiesFound)).capabilities
            assert (found.stacks, found.in_watts, found.decays) == (False, True, True)
            for command in (FLOOR, RAISE, ClearLimit(4, "CP", 1, Purpose.DEFAULT), ClearLimit(5, "CP", 1)):
                server.perform(command)
                assert isinstance(await outcome(inbox, command.seq), LimitConfirmed)
            told = [
                (
                    p["stackLevel"],
                    p["chargingProfilePurpose"],
                    p["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"],
                )
                for p in script.profiles()
            ]
            assert told == [(0, "TxDefaultProfile", 0), (0, "TxDefaultProfile", 11_040), (0, "TxDefaultProfile", 0)]

    run(scenario)


def test_where_nothing_was_given_in_watts_over_the_floor_clearing_brings_the_floor_back() -> None:
    async def scenario() -> None:
        in_watts = takes(lambda p: p["chargingSchedule"]["chargingRateUnit"] == "W")
        script = Script(SetChargingProfile=in_watts)
        script.answers["GetConfiguration"] = {"configurationKey": [{"key": "ChargeProfileMaxStackLevel", "value": "0"}]}
        async with linked(script) as (inbox, server):
            await inbox.until(CapabilitiesFound)
            server.perform(FLOOR)
            script.answers["SetChargingProfile"] = {"status": "Accepted"}
            assert isinstance(await outcome(inbox, FLOOR.seq), LimitConfirmed)
            script.answers["SetChargingProfile"] = in_watts
            server.perform(RAISE)
            assert isinstance(await outcome(inbox, RAISE.seq), LimitRefused)
            before = len(script.profiles())
            server.perform(ClearLimit(5, "CP", 1))
            assert isinstance(await outcome(inbox, 5), LimitConfirmed)
            assert len(script.profiles()) == before + 1, "the floor, where nothing was given"

    run(scenario)


def test_a_lease_starts_on_the_clock_of_the_station() -> None:
    async def scenario() -> None:
        script = Script()
        async with linked(script) as (inbox, server):
            fast = timedelta(seconds=40)
            for _ in range(2):
                stamp = (LoopClock().utc() + fast).isoformat()
                script.say("StatusNotification", connectorId=1, errorCode="NoError", status="Charging", timestamp=stamp)
                await asyncio.sleep(5)
            assert [event.ahead_ms for event in inbox.all(StationClockRead)] == [40_000]
            server.perform(RAISE)
            await outcome(inbox, RAISE.seq)
            start = datetime.fromisoformat(script.profiles()[0]["chargingSchedule"]["startSchedule"])
            assert abs(start - (LoopClock().utc() + fast - timedelta(seconds=60))) <= timedelta(seconds=1)

    run(scenario)


def test_a_station_that_comes_back_without_a_boot_is_invited_and_else_booted_in_our_books() -> None:
    async def scenario() -> None:
        script = Script(TriggerMessage={"status": "NotImplemented"})
        async with linked(script, accepted=False) as (inbox, _):
            assert await inbox.until(StationBooted) == StationBooted("CP")
            assert script.when("TriggerMessage")[0] == pytest.approx(10)
            await inbox.until(CapabilitiesFound)

    run(scenario)


def test_a_station_that_is_known_to_have_booted_is_not_asked_to_again() -> None:
    async def scenario() -> None:
        async with linked(Script()) as (inbox, _):
            await inbox.until(CapabilitiesFound)
            assert inbox.all(StationBooted) == []

    run(scenario)


def test_an_invited_station_that_does_not_boot_is_booted_with_what_it_told_before() -> None:
    async def scenario() -> None:
        script = Script()
        async with linked(script) as (inbox, server):
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            await inbox.until(StationBooted)
            server.perform(InviteBoot("CP"))
            assert await inbox.until(StationBooted, count=2) == StationBooted("CP", "V", "M")
            assert LoopClock().utc() - EPOCH >= timedelta(seconds=1_010)

    run(scenario)


def test_a_refused_change_of_the_configuration_is_not_repeated_after_the_next_boot() -> None:
    async def scenario() -> None:
        script = Script(ChangeConfiguration={"status": "NotSupported"})
        async with linked(script) as (inbox, _):
            for count in (1, 2):
                script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
                await inbox.until(CapabilitiesFound, count=count)
                await asyncio.sleep(1)
            tried = [(p["key"], p["value"]) for _, action, p in script.asked if action == "ChangeConfiguration"]
            assert len(tried) == len(set(tried)) > 2

    run(scenario)


def test_from_another_address_a_station_that_answers_is_not_displaced() -> None:
    async def scenario() -> None:
        async with linked(Script()) as (inbox, server):
            stranger = Script()
            assert await server.attach(stranger, "CP", "10.9.9.9", "/CP") == "its id is in use"
            assert stranger.is_closed
            assert inbox.all(StationTurnedAway) == [StationTurnedAway("CP", "10.9.9.9", TurnedAwayFor.ID_IN_USE)]
            assert len(inbox.all(StationConnected)) == 1
            assert inbox.all(StationDisconnected) == []

    run(scenario)


def test_from_another_address_a_station_replaces_a_dead_link_after_two_seconds() -> None:
    async def scenario() -> None:
        async with linked(Script(TriggerMessage=None, SetChargingProfile=None)) as (inbox, server):
            server.perform(RAISE)
            await asyncio.sleep(0.5)
            again = Script()
            serving = asyncio.create_task(server.attach(again, "CP", "10.0.0.2", "/CP"))
            started = asyncio.get_running_loop().time()
            await inbox.until(StationConnected, count=2)
            assert asyncio.get_running_loop().time() - started == pytest.approx(2, abs=0.1)
            assert isinstance(await outcome(inbox, RAISE.seq), LimitUnanswered)
            server.perform(DECREASE)
            assert isinstance(await outcome(inbox, DECREASE.seq), LimitConfirmed)
            assert len(again.profiles()) == 1
            assert len(inbox.all(StationDisconnected)) == 1
            again.hang_up()
            await serving

    run(scenario)
