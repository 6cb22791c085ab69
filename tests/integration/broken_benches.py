"""Adapters that break one promise each: what the conformance tests are for is to find them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import attrs

from llm_adapters.conformance import smallest
from llm_adapters.conformance.benches import Facts, Kind, Mood
from llm_core import (
    AskCpo,
    ClearLimit,
    Clock,
    CpoAnswered,
    Event,
    LimitConfirmed,
    LimitRefused,
    LimitUnanswered,
    MeterSampled,
    Record,
    Request,
    SetLimit,
    UplinkCommand,
    Verdict,
)

# Meters


class Flattering(smallest.SmallestMeter):
    """Rounds down, so that a fuse looks cooler than it is."""

    async def read(self) -> MeterSampled | None:
        sample = await super().read()
        if sample is None:
            return None
        l1, l2, l3 = (value - 100 if value else value for value in sample.current_ma)
        return attrs.evolve(sample, current_ma=(l1, l2, l3))


class Frozen(smallest.SmallestMeter):
    async def read(self) -> MeterSampled | None:
        sample = await super().read()
        return sample and attrs.evolve(sample, fingerprint=1)


class Raising(smallest.SmallestMeter):
    async def read(self) -> MeterSampled | None:
        sample = await super().read()
        if sample is None:
            raise ConnectionError(self.silent_because)
        return sample


class Remembering(smallest.SmallestMeter):
    """Says what it read last as if it were new."""

    last: MeterSampled | None = None

    async def read(self) -> MeterSampled | None:
        self.last = await super().read() or self.last
        return self.last


class Younger(smallest.SmallestMeter):
    """Stamps a reading later than it was taken."""

    async def read(self) -> MeterSampled | None:
        sample = await super().read()
        return sample and attrs.evolve(sample, taken_ms=sample.taken_ms + 2_000)


class _Meters:
    kind: ClassVar[Kind] = "meter"
    make: ClassVar[type[smallest.SmallestMeter]]

    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncIterator[object]:
        async with smallest.Meters().open(clock) as rig:
            rig.meter = self.make("site", rig.device, clock)
            yield rig


class FlatteringMeter(_Meters):
    make = Flattering


class FrozenMeter(_Meters):
    make = Frozen


class RaisingMeter(_Meters):
    make = Raising


class RememberingMeter(_Meters):
    make = Remembering


class YoungerMeter(_Meters):
    make = Younger


# Stations


class _Posts:
    """The smallest stations, and an inbox between them and the facts."""

    kind: ClassVar[Kind] = "stations"

    def told(self, event: Event) -> Iterable[Event]:
        yield event

    @asynccontextmanager
    async def open(self, inbox: Facts, clock: Clock) -> AsyncIterator[object]:
        outer = self

        class Between(Facts):
            def post(self, event: Event) -> None:
                for told in outer.told(event):
                    inbox.post(told)

            async def ask(self, event: Request) -> object:  # type: ignore[override]
                return await inbox.ask(event)

        async with smallest.Posts().open(Between(), clock) as rig:
            yield rig


class AnswersTwice(_Posts):
    def told(self, event: Event) -> Iterable[Event]:
        yield event
        if isinstance(event, LimitConfirmed):
            yield event


class TakesNoForYes(_Posts):
    def told(self, event: Event) -> Iterable[Event]:
        if isinstance(event, LimitRefused):
            yield LimitConfirmed(event.station_id, event.connector, event.seq)
        else:
            yield event


class LeavesInDoubt(_Posts):
    """Says nothing where nobody knows."""

    def told(self, event: Event) -> Iterable[Event]:
        if not isinstance(event, LimitUnanswered):
            yield event


class RoundsUp(_Posts):
    @asynccontextmanager
    async def open(self, inbox: Facts, clock: Clock) -> AsyncIterator[object]:
        async with smallest.Posts().open(inbox, clock) as rig:
            for post in rig.posts.values():
                post.take = _rounding_up(post)  # type: ignore[method-assign]
            yield rig


def _rounding_up(post: smallest.Post):  # type: ignore[no-untyped-def]
    take = post.take

    async def rounded(limit_ma: int | None) -> bool:
        return await take(None if limit_ma is None else -(-limit_ma // 1_000) * 1_000)

    return rounded


class OneAfterTheOther(_Posts):
    """A queue for all of them: one that is silent holds up the rest."""

    @asynccontextmanager
    async def open(self, inbox: Facts, clock: Clock) -> AsyncIterator[object]:
        async with smallest.Posts().open(inbox, clock) as rig:
            stations = rig.stations
            perform = stations.perform
            stations.DEADLINE_S = 8.0

            def in_line(command: SetLimit | ClearLimit) -> None:
                moods: list[Mood] = [post.mood for post in rig.posts.values()]
                if "silent" in moods and command.station_id == "ST2":
                    inbox.post(LimitUnanswered(command.station_id, command.connector, command.seq))
                else:
                    perform(command)

            stations.perform = in_line  # type: ignore[method-assign, assignment]
            yield rig


# Stores


class ForgetfulStore(smallest.SmallestStore):
    """Keeps what it is given for as long as it lives."""

    async def commit(self, records: Iterable[Record]) -> None:
        self._records += list(records)


class PiecemealStore(smallest.SmallestStore):
    async def commit(self, records: Iterable[Record]) -> None:
        for record in records:
            await super().commit([record])


class _Shelf:
    kind: ClassVar[Kind] = "store"
    make: ClassVar[type[smallest.SmallestStore]]

    @asynccontextmanager
    async def open(self, folder: Path, clock: Clock) -> AsyncIterator[smallest.SmallestStore]:  # noqa: ARG002
        store = self.make(folder / "records")
        try:
            yield store
        finally:
            await store.close()


class ForgetfulShelf(_Shelf):
    make = ForgetfulStore


class PiecemealShelf(_Shelf):
    make = PiecemealStore


# Uplinks


class Speechless(smallest.SmallestUplink):
    """Answers nothing while the CPO cannot be reached."""

    def perform(self, command: UplinkCommand) -> None:
        if self._cpo.reachable or not isinstance(command, AskCpo):
            super().perform(command)


class Generous(smallest.SmallestUplink):
    """Lets everybody in while the CPO cannot be reached."""

    def perform(self, command: UplinkCommand) -> None:
        if isinstance(command, AskCpo) and not self._cpo.reachable:
            self._inbox.post(CpoAnswered(command.station_id, command.id_tag, Verdict.ACCEPTED, command.ask))
        else:
            super().perform(command)


class Repeating(smallest.SmallestUplink):
    """Delivers what it has delivered."""

    def deliver(self) -> None:
        kept = list(self.queue)
        super().deliver()
        self.queue = kept


class _Operator:
    kind: ClassVar[Kind] = "uplink"
    make: ClassVar[type[smallest.SmallestUplink]]

    @asynccontextmanager
    async def open(self, inbox: Facts, clock: Clock) -> AsyncIterator[object]:
        async with smallest.Operator().open(inbox, clock) as rig:
            rig.uplinks = self.make(inbox, rig.cpo)
            yield rig


class SpeechlessOperator(_Operator):
    make = Speechless


class GenerousOperator(_Operator):
    make = Generous


class RepeatingOperator(_Operator):
    make = Repeating


FOUND_BY = {
    FlatteringMeter: "never_less",
    FrozenMeter: "fingerprint",
    RaisingMeter: "falls_silent",
    RememberingMeter: "falls_silent",
    YoungerMeter: "from_the_future",
    AnswersTwice: "confirmed_once",
    TakesNoForYes: "never_confirmed",
    LeavesInDoubt: "not_there",
    RoundsUp: "rounded_down",
    OneAfterTheOther: "delays_no_other",
    ForgetfulShelf: "after_a_restart",
    PiecemealShelf: "whole_or_not_at_all",
    SpeechlessOperator: "says_so_in_time",
    GenerousOperator: "says_so_in_time",
    RepeatingOperator: "once_and_in_order",
}
