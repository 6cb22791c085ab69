"""The badge list of a station, kept in step: what counts is whom the virtual station lets in while it is alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Any

import attrs
import pytest
from test_ocpp_commissioning import House
from test_ocpp_virtual import config

from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.clockwork import run
from llm_core import AccessRule, Badge, BadgesEdited, LocalList, PutAccess, SiteEdited


class Guarded(House):
    """A house where badges are asked for, and whose changes reach the stations."""

    def _begin(self) -> None:
        super()._begin()
        self.controller.watch(self.server.look)
        self.sent: list[dict[str, Any]] = []
        station = self.plant.stations["CP"]
        update = station.badges.update

        def noted(payload: dict[str, Any], most: float) -> str:
            status = update(payload, most)
            self.sent.append({**payload, "status": status})
            return status

        setattr(station.badges, "update", noted)  # noqa: B010

    async def badges(self, *put: Badge, remove: tuple[str, ...] = ()) -> None:
        await self.controller.ask(BadgesEdited("ann", put, remove))
        await asyncio.sleep(20)

    async def guard(self) -> None:
        await self.controller.ask(SiteEdited("ann", PutAccess(AccessRule.BADGE)))
        await asyncio.sleep(40)

    @property
    def known(self) -> LocalList | None:
        return self.controller.state.local_lists.get("CP")

    def opens(self, tag: str) -> bool:
        info = self.plant.stations["CP"].badges.known(tag)
        return info is not None and info["status"] == "Accepted"


def live(story: Callable[[Guarded], Any], **quirks: Any) -> None:
    house = Guarded(config(**quirks))
    run(house.live(story(house)))


def test_badges_work_while_the_controller_is_down() -> None:
    async def story(house: Guarded) -> None:
        await house.guard()
        assert house.sent == [], "nobody may charge, and there never was a list"
        await house.badges(Badge("AA11"), Badge("BB22"))
        assert (house.opens("AA11"), house.opens("BB22"), house.opens("CC33")) == (True, True, False)
        house.server._cut("CP", 10_000)
        await asyncio.sleep(30)
        station = house.plant.stations["CP"]
        station.plug(1, Car(CarModel()))
        station.present(1, "CC33")
        await asyncio.sleep(5)
        assert house.outlet.session is None
        station.present(1, "AA11")
        await asyncio.sleep(5)
        assert house.outlet.session is not None

    live(story)


def test_only_what_changed_is_sent() -> None:
    async def story(house: Guarded) -> None:
        await house.guard()
        await house.badges(*(Badge(f"AA{n:02}") for n in range(10)))
        await house.badges(Badge("BB22", expires_on=date(2030, 1, 31)), remove=("AA03",))
        full, changed = house.sent
        assert (full["updateType"], len(full["localAuthorizationList"])) == ("Full", 10)
        assert (changed["updateType"], changed["listVersion"]) == ("Differential", full["listVersion"] + 1)
        assert changed["localAuthorizationList"] == [
            {"idTag": "AA03"},
            {"idTag": "BB22", "idTagInfo": {"status": "Accepted", "expiryDate": "2030-01-31T23:00:00Z"}},
        ]
        assert (house.opens("AA03"), house.opens("BB22")) == (False, True)
        assert house.known is not None
        assert (house.known.held, house.known.wanted, house.known.version) == (10, 10, changed["listVersion"])

    live(story)


def test_nothing_is_sent_twice_to_a_station_that_comes_back() -> None:
    async def story(house: Guarded) -> None:
        await house.guard()
        await house.badges(Badge("AA11"))
        house.server._cut("CP", 5)
        await asyncio.sleep(120)
        assert house.controller.state.stations["CP"].online
        assert len(house.sent) == 1
        await house.badges(Badge("BB22"))
        assert [sent["updateType"] for sent in house.sent] == ["Full", "Differential"]

    live(story)


def test_a_station_with_another_list_gets_the_whole_one() -> None:
    async def story(house: Guarded) -> None:
        await house.guard()
        await house.badges(Badge("AA11"))
        entries = [{"idTag": "OLD", "idTagInfo": {"status": "Accepted"}}]
        assert (
            house.plant.stations["CP"].badges.update(
                {"listVersion": 900, "updateType": "Full", "localAuthorizationList": entries}, 500
            )
            == "Accepted"
        )
        await house.badges(Badge("BB22"))
        assert (house.opens("OLD"), house.opens("AA11"), house.opens("BB22")) == (False, True, True)
        assert house.sent[-1]["updateType"] == "Full"
        assert house.sent[-1]["listVersion"] > 900

    live(story)


def test_a_list_goes_in_pieces_and_no_further_than_the_station_holds() -> None:
    async def story(house: Guarded) -> None:
        keys = house.plant.stations["CP"].keys
        keys["SendLocalListMaxLength"], keys["LocalAuthListMaxLength"] = ("7", True), ("25", True)
        await house.guard()
        await house.badges(*(Badge(f"AA{n:02}") for n in range(40)))
        assert [(sent["updateType"], len(sent["localAuthorizationList"])) for sent in house.sent] == [
            ("Full", 7),
            ("Differential", 7),
            ("Differential", 7),
            ("Differential", 4),
        ]
        assert house.known is not None
        assert (house.known.held, house.known.wanted) == (25, 40)

    live(story)


def test_under_free_access_the_list_is_emptied() -> None:
    async def story(house: Guarded) -> None:
        await house.guard()
        await house.badges(Badge("AA11"))
        await house.controller.ask(SiteEdited("ann", PutAccess(AccessRule.FREE)))
        await asyncio.sleep(20)
        assert not house.opens("AA11")
        theirs = [{"idTag": "CPO1", "idTagInfo": {"status": "Accepted"}}]
        book = house.plant.stations["CP"].badges
        assert (
            book.update({"listVersion": 99, "updateType": "Full", "localAuthorizationList": theirs}, 500) == "Accepted"
        )
        await house.badges(Badge("BB22"))
        assert house.opens("CPO1"), "what somebody else put there meanwhile stays"

    live(story)


@pytest.mark.parametrize("answer", ["Failed", "NotSupported"])
def test_a_refused_list_is_remembered_and_shown(answer: str) -> None:
    async def story(house: Guarded) -> None:
        setattr(house.plant.stations["CP"].badges, "update", lambda *_: answer)  # noqa: B010
        await house.guard()
        await house.badges(Badge("AA11"))
        assert house.known is not None
        assert (house.known.refused, house.known.held, house.known.wanted) == (answer, 0, 1)

    live(story)


def test_a_station_without_such_a_list_is_left_alone_until_its_firmware_changes() -> None:
    async def story(house: Guarded) -> None:
        house.plant.stations["CP"].keys["SupportedFeatureProfiles"] = ("Core,SmartCharging", True)
        await house.guard()
        await house.badges(Badge("AA11"))
        assert house.known is not None
        assert house.known.refused == "not supported"
        house.plant.stations["CP"].keys["SupportedFeatureProfiles"] = ("Core,LocalAuthListManagement", True)
        await house.badges(Badge("BB22"))
        assert house.sent == []
        state = house.controller.state
        newer = attrs.evolve(state.stations["CP"], firmware="2.0")
        house.controller._become(attrs.evolve(state, stations={"CP": newer}))
        await house.badges(Badge("CC33"))
        assert house.opens("CC33")

    live(story)


def test_a_list_that_is_switched_off_is_switched_on_once() -> None:
    async def story(house: Guarded) -> None:
        station = house.plant.stations["CP"]
        station.keys["LocalAuthListEnabled"] = ("false", False)
        await house.guard()
        await house.badges(Badge("AA11"))
        assert station.keys["LocalAuthListEnabled"] == ("true", False)
        station.keys["LocalAuthListEnabled"] = ("false", False)
        await house.badges(Badge("BB22"))
        assert station.keys["LocalAuthListEnabled"] == ("false", False), "what does not stay is not tried for ever"
        assert house.opens("BB22")

    live(story)
