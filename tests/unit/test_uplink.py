"""What an administrator may set for the way up to an operator, and what is refused."""

from __future__ import annotations

import pytest

from llm_core import AccessRule, CpoServer, Site, SiteError, Uplink, UplinkState, UplinkStation, UplinkStatus, check
from llm_core.uplink import uplink_faults
from unit.strategies import NOON

GOOD = UplinkStation("A", "NL-1")


@pytest.mark.parametrize(
    ("state", "failed", "may_be"),
    [
        (UplinkState.ACCEPTED, False, True),
        (UplinkState.CONNECTING, False, True),
        (UplinkState.OFFLINE, False, True),
        (UplinkState.CONNECTING, True, False),
        (UplinkState.OFFLINE, True, False),
        (UplinkState.PENDING, False, False),
        (UplinkState.REFUSED, False, False),
        (UplinkState.OFF, False, False),
    ],
)
def test_an_operator_is_waited_for_until_it_was_tried_in_vain(state: UplinkState, failed: bool, may_be: bool) -> None:
    assert UplinkStatus(state, NOON, 0, failed=failed).may_be_there is may_be


def pointers(uplink: Uplink) -> list[str]:
    return [fault.pointer for fault in uplink_faults(uplink)]


@pytest.mark.parametrize(
    "url", ["ws://cpo", "wss://cpo.example/ocpp/1.6", "ws://127.0.0.1:9100/", "wss://[::1]:8443/x"]
)
def test_an_address_of_a_websocket_is_taken(url: str) -> None:
    assert pointers(Uplink(url=url, servers=(CpoServer("Mine", url),), stations=(GOOD,))) == []


@pytest.mark.parametrize(
    "url",
    [
        "cpo",
        "http://cpo",
        "ws://",
        "ws://cpo:0",
        "ws://cpo:99999",
        "ws://a b",
        "ws://u:p@cpo",
        "ws://cpo/?x",
        "ws://c/#y",
    ],
)
def test_any_other_address_is_refused_wherever_it_stands(url: str) -> None:
    uplink = Uplink(url=url, servers=(CpoServer("Mine", url),), stations=(UplinkStation("A", "NL-1", url),))
    assert pointers(uplink) == ["/uplink/url", "/uplink/servers/0/url", "/uplink/stations/A/url"]


def test_a_server_needs_a_name() -> None:
    assert pointers(Uplink(servers=(CpoServer(" ", "ws://cpo"),))) == ["/uplink/servers/0/name"]


@pytest.mark.parametrize("ocpp_id", ["", "  ", "x" * 65, "a\nb"])
def test_an_ocpp_id_has_1_to_64_characters_that_can_be_read(ocpp_id: str) -> None:
    assert pointers(Uplink(stations=(UplinkStation("A", ocpp_id),))) == ["/uplink/stations/A/ocpp_id"]


def test_two_stations_are_two_at_one_operator_and_may_share_an_id_at_two() -> None:
    twins = (GOOD, UplinkStation("B", "NL-1"))
    assert pointers(Uplink(stations=twins)) == ["/uplink/stations/A/ocpp_id", "/uplink/stations/B/ocpp_id"]
    apart = (GOOD, UplinkStation("B", "NL-1", "ws://other"))
    assert pointers(Uplink(url="ws://cpo", stations=apart)) == []


def test_a_station_has_the_server_of_all_or_its_own() -> None:
    own = UplinkStation("B", "NL-2", "ws://other")
    uplink = Uplink(url="ws://cpo", stations=(GOOD, own))
    assert (uplink.url_of(GOOD), uplink.url_of(own)) == ("ws://cpo", "ws://other")
    assert uplink.station("B") == own
    assert uplink.station("C") is None


@pytest.mark.parametrize(("rule", "enabled"), [(AccessRule.CPO, False), (AccessRule.BADGE, True)])
def test_the_operator_decides_exactly_while_it_is_switched_on(rule: AccessRule, enabled: bool) -> None:
    with pytest.raises(SiteError) as refused:
        check(Site(access=rule, uplink=Uplink(enabled=enabled)))
    assert [fault.pointer for fault in refused.value.faults] == ["/access/rule"]
