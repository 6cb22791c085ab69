"""Whatever profiles an operator sends, a station offers the smaller of its limit and ours, and no fuse notices.

The small site keeps its own limits and lets its cars draw by them; the operator's limit is counted from its raw JSON.
"""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llm_adapters.ocpp16.uplink.schedules import Running
from llm_adapters.ocpp16.uplink.shadow import Shadow
from llm_core import CapSource, ConnectorCapped, Station
from unit.small_site import A, SmallSite, static
from unit.strategies import now
from unit.test_ocpp_cpo_profiles import any_profile, judged

SUPPLY_A = 24
SETTLED_S = 4  # the tick that follows, the second that an acknowledgement takes, and one to spare
PLUGGED_S = 10


def wanted_ma(profiles: list[dict[str, Any]], at: datetime, since: datetime) -> int | None:
    """The operator's limit by the words of its profiles: levels within a purpose, the lowest across purposes."""
    found: dict[str, Fraction | None] = {}
    for purpose in ("TxProfile", "TxDefaultProfile", "ChargePointMaxProfile"):
        meant = [one for one in profiles if one["chargingProfilePurpose"] == purpose]
        begun = at if purpose == "ChargePointMaxProfile" else since
        levels = sorted(meant, key=lambda one: -one["stackLevel"])
        found[purpose] = next((limit for one in levels if (limit := judged(one, at, begun)) is not None), None)
    own = found["TxProfile"] if found["TxProfile"] is not None else found["TxDefaultProfile"]
    limits = [limit for limit in (own, found["ChargePointMaxProfile"]) if limit is not None]
    return int(min(limits) * 1_000) if limits else None


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(PLUGGED_S + 1, 80), any_profile()), max_size=4))
def test_the_limit_of_a_station_is_the_smaller_one_and_the_plant_sees_no_violation(told: list[Any]) -> None:
    site = SmallSite(static(SUPPLY_A, Station("A"), Station("B")))
    site.run(PLUGGED_S)
    site.plug("A")
    site.plug("B")
    since = now(site.second).utc
    present = {1: Running(1, 70, since)}
    shadow, profiles, seen_ma = Shadow(), dict[tuple[str, int], dict[str, Any]](), list[int]()
    last: int | None = None
    for second in range(PLUGGED_S + 1, 120):
        at = now(second).utc
        for due, one in told:
            if due == second:
                place = (one["chargingProfilePurpose"], one["stackLevel"])
                profiles[place] = one
                connector = 0 if place[0] == "ChargePointMaxProfile" else 1
                number = list(profiles).index(place) + 1
                put = {"connectorId": connector, "csChargingProfiles": {**one, "chargingProfileId": number}}
                assert shadow.put(put, present, 1) == "Accepted"
        cap_ma = shadow.cap_ma(1, present, at, 3)
        if cap_ma != last:
            site.post(ConnectorCapped("A", 1, CapSource.CPO, cap_ma))
            last = cap_ma
        wanted = wanted_ma(list(profiles.values()), at, since)
        seen_ma.append(16 * A if wanted is None else wanted)
        site.run(1)
        assert site.outlets["A"].offered[-1][1] <= max(seen_ma[-SETTLED_S - 1 :])
        assert sum(site.offered("A", "B")) <= SUPPLY_A
    assert max(site.most_ma) <= SUPPLY_A * A


def test_who_is_capped_leaves_the_rest_to_the_others() -> None:
    site = SmallSite(static(SUPPLY_A, Station("A"), Station("B")))
    site.run(PLUGGED_S)
    site.plug("A")
    site.plug("B")
    site.run(60)
    assert site.offered("A", "B") == [12, 12]
    site.post(ConnectorCapped("A", 1, CapSource.CPO, 8 * A))
    site.run(60)
    assert site.offered("A", "B") == [8, 16]
