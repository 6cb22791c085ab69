"""A virtual station driven frame by frame, with a hand-written central system on the other side."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.config import Quirks, StationConfig
from llm_adapters.virtual.profiles import StoreRules
from llm_adapters.virtual.station import Station

EPOCH = datetime(2026, 3, 4, 12, 0, tzinfo=UTC).timestamp()


def iso(t: float) -> str:
    return datetime.fromtimestamp(EPOCH + t, UTC).isoformat().replace("+00:00", "Z")


class Central:
    """Answers a station's calls; `heard` keeps them, `verdicts` and `tags` say what to answer."""

    def __init__(self, config: StationConfig | None = None, boot: str = "Accepted") -> None:
        self.station = Station(config or StationConfig("S1"), epoch=EPOCH)
        self.boot = boot
        self.refused: set[str] = set()
        self.parents: dict[str, str] = {}
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        self.deaf = False
        self.t = 0.0

    def connect(self) -> Central:
        self.station.link_up(self.t)
        self.serve()
        return self

    def until(self, t: float) -> None:
        """Let seconds pass one at a time, serving what the station says."""
        while self.t < t:
            self.t = min(t, self.t + 1.0)
            self.station.advance(self.t)
            self.serve()

    def serve(self) -> None:
        while self.station.outbox:
            frame = json.loads(self.station.outbox.pop(0))
            if frame[0] != 2:
                self.answers[frame[1]] = frame
                continue
            self.heard.append((frame[2], frame[3]))
            if not self.deaf:
                answer = self.answer(frame[2], frame[3])
                self.station.receive(json.dumps([3, frame[1], answer]), self.t)

    def answer(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        tag = payload.get("idTag", "")
        info = {"status": "Blocked" if tag in self.refused else "Accepted"}
        if tag in self.parents:
            info["parentIdTag"] = self.parents[tag]
        if action == "BootNotification":
            return {"status": self.boot, "currentTime": iso(self.t), "interval": 60}
        if action == "Heartbeat":
            return {"currentTime": iso(self.t)}
        if action == "Authorize":
            return {"idTagInfo": info}
        if action == "StartTransaction":
            return {"transactionId": 40 + len(self.of("StartTransaction")), "idTagInfo": info}
        return {}

    def ask(self, action: str, payload: dict[str, Any]) -> Any:
        """Call the station: its answer's payload, or the code of its CALLERROR, or None."""
        call_id = f"c{self.t}-{action}-{len(self.answers)}"
        self.station.receive(json.dumps([2, call_id, action, payload]), self.t)
        self.serve()
        frame = self.answers.get(call_id)
        return None if frame is None else frame[2]

    def of(self, action: str) -> list[dict[str, Any]]:
        return [payload for name, payload in self.heard if name == action]

    def statuses(self, connector: int = 1) -> list[str]:
        return [p["status"] for p in self.of("StatusNotification") if p["connectorId"] == connector]

    def charge(self, model: CarModel | None = None) -> Central:
        """Connect, plug, badge: a transaction runs."""
        self.connect()
        self.station.plug(1, Car(model or CarModel(reaction_s=1.0)))
        self.station.present(1, "aa")
        self.serve()
        self.until(self.t + 3)
        return self

    def limit(self, amps: float, purpose: str = "TxDefaultProfile", **more: Any) -> Any:
        schedule = {
            "chargingRateUnit": "A",
            "startSchedule": iso(-60),
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": amps}],
        }
        profile = {
            "chargingProfileId": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": purpose,
            "chargingProfileKind": "Absolute",
            "chargingSchedule": schedule | more.pop("schedule", {}),
            **more,
        }
        return self.ask("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile})


@pytest.fixture
def central() -> Central:
    return Central()


def quirky(quirks: Quirks, **more: Any) -> Central:
    return Central(StationConfig("S1", quirks=quirks, **more))


# -- boot and housekeeping


def test_it_boots_before_it_says_anything_else(central: Central) -> None:
    central.connect()
    assert [name for name, _ in central.heard] == ["BootNotification", "StatusNotification", "StatusNotification"]
    assert [p["connectorId"] for p in central.of("StatusNotification")] == [0, 1]


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_while_not_accepted_it_only_boots_again_after_the_interval(status: str) -> None:
    central = Central(boot=status).connect()
    central.until(59)
    assert [name for name, _ in central.heard] == ["BootNotification"]
    central.boot = "Accepted"
    central.until(61)
    assert len(central.of("BootNotification")) == 2
    assert central.statuses() == ["Available"]


def test_a_pending_station_answers_calls_and_triggers() -> None:
    central = Central(boot="Pending").connect()
    assert central.ask("TriggerMessage", {"requestedMessage": "BootNotification"}) == {"status": "Accepted"}
    assert len(central.of("BootNotification")) == 2
    assert central.ask("TriggerMessage", {"requestedMessage": "StatusNotification"}) == {"status": "Accepted"}
    assert central.statuses() == ["Available"]


def test_heartbeats_follow_the_interval_of_the_boot(central: Central) -> None:
    central.connect().until(181)
    assert len(central.of("Heartbeat")) == 3


def test_its_clock_follows_the_central_system_unless_it_is_stubborn() -> None:
    assert Central(StationConfig("S1", clock_offset_s=40.0)).connect().station.clock_offset_s == 0
    stubborn = quirky(Quirks(syncs_clock=False), clock_offset_s=40.0).connect()
    assert stubborn.station.clock_offset_s == 40
    assert stubborn.of("StatusNotification")[0]["timestamp"].startswith("2026-03-04T12:00:40")


def test_one_call_is_outstanding_at_a_time(central: Central) -> None:
    central.deaf = True
    central.connect()
    central.station.plug(1, Car(CarModel()))
    central.until(5)
    assert [name for name, _ in central.heard] == ["BootNotification"]


def test_unknown_actions_and_malformed_calls_get_an_error_and_garbage_nothing(central: Central) -> None:
    central.connect()
    assert central.ask("Rumba", {}) == "NotImplemented"
    assert central.ask("SetChargingProfile", {"connectorId": 1}) == "FormationViolation"
    for text in ("", "{", "[2]", "7", '[2,"x","Reset"]', "[9,1,2,3]"):
        central.station.receive(text, central.t)
    assert central.station.outbox == []


# -- transactions


def test_plug_then_badge_charges(central: Central) -> None:
    central.charge()
    assert central.of("Authorize") == [{"idTag": "aa"}]
    assert central.of("StartTransaction")[0]["meterStart"] == 0
    assert central.statuses() == ["Available", "Preparing", "Charging"]
    assert central.station.connectors[0].draw_a == (16, 16, 16)


def test_badge_then_plug_charges_unless_the_driver_dawdles(central: Central) -> None:
    central.connect()
    central.station.present(1, "aa")
    central.serve()
    central.until(10)
    central.station.plug(1, Car(CarModel()))
    central.serve()
    assert len(central.of("StartTransaction")) == 1
    late = Central().connect()
    late.station.present(1, "aa")
    late.serve()
    late.until(61)
    late.station.plug(1, Car(CarModel()))
    late.serve()
    assert late.of("StartTransaction") == []
    assert late.statuses() == ["Available", "Preparing", "Available", "Preparing"]


def test_a_refused_badge_starts_nothing(central: Central) -> None:
    central.refused.add("aa")
    central.charge()
    assert central.of("StartTransaction") == []
    assert central.station.connectors[0].draw_a == (0, 0, 0)


def test_the_same_badge_or_its_group_stops(central: Central) -> None:
    central.charge()
    central.station.present(1, "bb")
    central.serve()
    assert central.of("StopTransaction") == []
    central.station.present(1, "aa")
    central.serve()
    stop = central.of("StopTransaction")[0]
    assert (stop["transactionId"], stop["reason"], stop["idTag"]) == (41, "Local", "aa")
    assert central.statuses()[-1] == "Finishing"
    family = Central()
    family.parents = {"aa": "fam", "bb": "fam"}
    family.charge()
    family.station.present(1, "bb")
    family.serve()
    assert family.of("StopTransaction")[0]["idTag"] == "bb"


def test_pulling_the_cable_ends_the_transaction_with_the_energy_charged(central: Central) -> None:
    central.charge()
    central.until(1 + 3600)
    central.station.unplug(1)
    central.serve()
    stop = central.of("StopTransaction")[0]
    assert stop["reason"] == "EVDisconnected"
    assert stop["meterStop"] == 11_040
    assert central.statuses()[-1] == "Available"


def test_a_transaction_refused_at_the_start_is_stopped_or_silently_dropped() -> None:
    for silent, stops in ((False, ["DeAuthorized"]), (True, [])):
        central = quirky(Quirks(silent_after_refused_start=silent), free_vend_tag="bad")
        central.refused.add("bad")
        central.connect()
        central.station.plug(1, Car(CarModel()))
        central.serve()
        central.until(10)
        assert [p["reason"] for p in central.of("StopTransaction")] == stops
        assert central.station.connectors[0].draw_a == (0, 0, 0)


def test_remote_start_and_stop(central: Central) -> None:
    central.connect()
    central.station.plug(1, Car(CarModel(reaction_s=0.0)))
    profile = {
        "chargingProfileId": 5,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 7.0}],
        },
    }
    answer = central.ask("RemoteStartTransaction", {"idTag": "r", "connectorId": 1, "chargingProfile": profile})
    assert answer == {"status": "Accepted"}
    assert central.of("Authorize") == []
    assert central.station.connectors[0].pilot_a == 7
    assert central.ask("RemoteStartTransaction", {"idTag": "r"}) == {"status": "Rejected"}
    assert central.ask("RemoteStopTransaction", {"transactionId": 999}) == {"status": "Rejected"}
    assert central.ask("RemoteStopTransaction", {"transactionId": 41}) == {"status": "Accepted"}
    assert central.of("StopTransaction")[0]["reason"] == "Remote"
    assert central.station.profiles.installed == []


# -- readings


def test_meter_values_follow_the_configuration(central: Central) -> None:
    central.connect()
    everything = "Current.Import,Voltage,Power.Active.Import,Energy.Active.Import.Register,SoC"
    asked = {"key": "MeterValuesSampledData", "value": everything}
    assert central.ask("ChangeConfiguration", asked) == {"status": "Accepted"}
    assert central.ask("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "10"})
    central.station.plug(1, Car(CarModel(phases=2, reaction_s=0.0)))
    central.station.present(1, "aa")
    central.serve()
    central.until(25)
    sent = central.of("MeterValues")
    assert len(sent) == 2
    assert sent[0]["transactionId"] == 41
    sampled = sent[0]["meterValue"][0]["sampledValue"]
    currents = {s["phase"]: s["value"] for s in sampled if s["measurand"] == "Current.Import"}
    assert currents == {"L1": "16.00", "L2": "16.00", "L3": "0.00"}
    energy = next(s for s in sampled if s["measurand"] == "Energy.Active.Import.Register")
    assert (energy["value"], energy["unit"]) == ("20", "Wh")
    assert {s["measurand"] for s in sampled} == set(everything.split(","))


def test_currents_are_reported_in_station_phases_and_drawn_on_site_phases() -> None:
    central = Central(StationConfig("S1", rotations=(("L2", "L3", "L1"),)))
    central.connect()
    central.ask("ChangeConfiguration", {"key": "MeterValuesSampledData", "value": "Current.Import"})
    central.charge(CarModel(phases=1, reaction_s=0.0))
    assert central.station.connectors[0].draw_a == (0, 16, 0)
    central.ask("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1})
    sampled = central.of("MeterValues")[-1]["meterValue"][0]["sampledValue"]
    assert [(s["phase"], s["value"]) for s in sampled] == [("L1", "16.00"), ("L2", "0.00"), ("L3", "0.00")]


def test_configuration_is_read_and_guarded() -> None:
    central = quirky(Quirks(refused_keys=("HeartbeatInterval",))).connect()
    answer = central.ask("GetConfiguration", {"key": ["NumberOfConnectors", "Nonsense"]})
    assert answer["configurationKey"] == [{"key": "NumberOfConnectors", "readonly": True, "value": "1"}]
    assert answer["unknownKey"] == ["Nonsense"]
    for key, value, status in (
        ("HeartbeatInterval", "5", "Rejected"),
        ("NumberOfConnectors", "5", "Rejected"),
        ("MeterValueSampleInterval", "often", "Rejected"),
        ("Nonsense", "5", "NotSupported"),
    ):
        assert central.ask("ChangeConfiguration", {"key": key, "value": value}) == {"status": status}


# -- limits


def test_a_limit_moves_pilot_and_car(central: Central) -> None:
    central.charge()
    assert central.limit(10.06, "TxProfile", transactionId=41) == {"status": "Accepted"}
    connector = central.station.connectors[0]
    assert connector.pilot_a == pytest.approx(10.0)
    assert connector.entitled_a == 10.06
    assert connector.draw_a == (16, 16, 16), "the car has not reacted yet"
    central.until(central.t + 1)
    assert connector.draw_a == pytest.approx((10, 10, 10))


def test_below_six_amps_the_station_pauses_and_says_so(central: Central) -> None:
    central.charge()
    central.limit(5.9)
    central.until(central.t + 2)
    assert central.station.connectors[0].pilot_a == 0
    assert central.statuses()[-1] == "SuspendedEVSE"


def test_whole_amp_stations_floor() -> None:
    central = Central(StationConfig("S1", step_a=1.0)).charge()
    central.limit(11.9)
    assert central.station.connectors[0].pilot_a == 11


def test_a_transaction_takes_its_profile_with_it_unless_the_station_keeps_it() -> None:
    for keeps, left in ((False, 0), (True, 1)):
        central = quirky(Quirks(keeps_tx_profiles=keeps)).charge()
        central.limit(8, "TxProfile", transactionId=41)
        central.station.unplug(1)
        assert len(central.station.profiles.installed) == left


def test_stations_may_refuse_ignore_or_want_watts() -> None:
    assert quirky(Quirks(rejects_profiles=True)).charge().limit(8) == {"status": "Rejected"}
    ignoring = quirky(Quirks(ignores_profiles=True)).charge()
    assert ignoring.limit(8) == {"status": "Accepted"}
    assert ignoring.station.connectors[0].entitled_a == 16
    watts = quirky(Quirks(store=StoreRules(units=("W",)))).charge()
    assert watts.limit(8) == {"status": "Rejected"}
    one_phase = quirky(Quirks(watts_follow_car=True)).charge(CarModel(phases=1, reaction_s=1.0))
    assert one_phase.limit(2300.0, schedule={"chargingRateUnit": "W"}) == {"status": "Accepted"}
    assert one_phase.station.connectors[0].pilot_a == pytest.approx(10.0)


def test_two_sockets_share_the_station_maximum() -> None:
    central = Central(StationConfig("S1", rotations=(("L1", "L2", "L3"), ("L1", "L2", "L3")))).connect()
    for socket in (1, 2):
        central.station.plug(socket, Car(CarModel(reaction_s=0.0)))
        central.station.present(socket, f"t{socket}")
        central.serve()
    profile = {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "ChargePointMaxProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 20.0}],
        },
    }
    central.ask("SetChargingProfile", {"connectorId": 0, "csChargingProfiles": profile})
    assert [c.entitled_a for c in central.station.connectors] == [10, 10]


def test_the_composite_schedule_answer_names_unit_and_steps(central: Central) -> None:
    central.charge()
    two = [{"startPeriod": 0, "limit": 12.0}, {"startPeriod": 90, "limit": 6.0}]
    central.limit(0, schedule={"chargingSchedulePeriod": two})
    answer = central.ask("GetCompositeSchedule", {"connectorId": 1, "duration": 300})
    periods = answer["chargingSchedule"]["chargingSchedulePeriod"]
    assert periods == [{"startPeriod": 0, "limit": 12.0}, {"startPeriod": 27, "limit": 6.0}]
    watts = central.ask("GetCompositeSchedule", {"connectorId": 1, "duration": 10, "chargingRateUnit": "W"})
    assert watts["chargingSchedule"]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 8280.0}]
    assert central.ask("GetCompositeSchedule", {"connectorId": 9, "duration": 1}) == {"status": "Rejected"}


# -- losing the link and the power


def leased(central: Central) -> None:
    two = [{"startPeriod": 0, "limit": 12.0}, {"startPeriod": 180, "limit": 6.0}]
    central.limit(0, schedule={"startSchedule": iso(central.t - 60), "chargingSchedulePeriod": two})


def test_offline_it_charges_on_and_its_lease_decays_by_its_own_clock() -> None:
    for offset, decays_after in ((0.0, 120), (30.0, 90), (-30.0, 150)):
        central = quirky(Quirks(syncs_clock=False), clock_offset_s=offset).charge()
        leased(central)
        cut = central.t
        central.station.go_offline(1000)
        connector = central.station.connectors[0]
        central.until(cut + decays_after - 1)
        assert connector.pilot_a == pytest.approx(12.0)
        central.until(cut + decays_after + 1)
        assert connector.pilot_a == pytest.approx(6.0)


def test_what_happened_offline_arrives_later_in_order_with_its_own_times() -> None:
    central = quirky(Quirks(offline=((100.0, 400.0),))).charge()
    central.until(100)
    assert not central.station.online
    assert not central.station.wants_link
    central.until(200)
    central.station.unplug(1)
    central.until(401)
    assert central.station.wants_link
    before = len(central.heard)
    central.connect()
    told = central.heard[before:]
    names = [name for name, _ in told]
    assert names == ["MeterValues", "MeterValues", "StopTransaction", "StatusNotification"]
    stop = central.of("StopTransaction")[0]
    assert (stop["transactionId"], stop["timestamp"]) == (41, "2026-03-04T12:03:20.000Z")
    assert central.of("BootNotification") == central.of("BootNotification")[:1], "no boot after a mere reconnect"


def test_an_unanswered_start_is_repeated_with_its_first_timestamp(central: Central) -> None:
    central.connect()
    central.station.plug(1, Car(CarModel()))
    central.station.present(1, "aa")
    central.station.receive(json.dumps([3, "nonsense", {}]), 0.0)
    central.deaf = False
    authorize = json.loads(central.station.outbox.pop(0))
    while authorize[2] != "Authorize":
        central.station.receive(json.dumps([3, authorize[1], {}]), 0.0)
        authorize = json.loads(central.station.outbox.pop(0))
    central.station.receive(json.dumps([3, authorize[1], {"idTagInfo": {"status": "Accepted"}}]), 0.0)
    central.deaf = True
    central.serve()
    first = central.of("StartTransaction")[0]
    central.station.link_down(1.0)
    central.deaf = False
    central.t = 50.0
    central.connect()
    assert central.of("StartTransaction") == [first, first]
    assert central.station.connectors[0].session is not None


def test_a_badge_offline_needs_the_list_the_cache_or_permission() -> None:
    for offline_start, tag, starts in ((False, "new", 0), (True, "new", 1), (False, "listed", 1)):
        central = quirky(Quirks(offline_start=offline_start)).connect()
        entry = {"idTag": "listed", "idTagInfo": {"status": "Accepted"}}
        update = {"listVersion": 3, "updateType": "Full", "localAuthorizationList": [entry]}
        assert central.ask("SendLocalList", update) == {"status": "Accepted"}
        assert central.ask("GetLocalListVersion", {}) == {"listVersion": 3}
        central.station.link_down(0.0)
        central.station.plug(1, Car(CarModel()))
        central.station.present(1, tag)
        central.connect()
        assert len(central.of("StartTransaction")) == starts


def test_a_reset_stops_reboots_and_boots_again(central: Central) -> None:
    central.charge()
    assert central.ask("Reset", {"type": "Hard"}) == {"status": "Accepted"}
    assert central.of("StopTransaction")[0]["reason"] == "HardReset"
    central.until(central.t + 2)
    assert not central.station.online
    central.until(central.t + 8)
    assert central.station.wants_link
    central.connect()
    assert len(central.of("BootNotification")) == 2


def test_a_power_cut_keeps_or_loses_profiles_and_transaction() -> None:
    for quirks, installed, running, stops in (
        (Quirks(), 1, True, []),
        (Quirks(keeps_profiles=False), 0, True, []),
        (Quirks(resumes_transaction=False), 1, False, ["PowerLoss"]),
        (Quirks(resumes_transaction=False, forgets_transaction=True), 1, False, []),
    ):
        central = quirky(quirks).charge()
        central.limit(8)
        central.station.restart()
        assert central.station.connectors[0].draw_a == (0, 0, 0)
        central.until(central.t + 9)
        central.connect()
        central.until(central.t + 3)
        assert len(central.station.profiles.installed) == installed
        assert (central.station.connectors[0].session is not None) is running
        assert [p["reason"] for p in central.of("StopTransaction")] == stops


# -- the rest


def test_slow_and_lost_answers() -> None:
    slow = quirky(Quirks(answer_delay_s=4.0)).charge()
    assert slow.limit(8) is None
    assert slow.station.connectors[0].entitled_a == 8, "it acts at once and answers later"
    before = len(slow.answers)
    slow.until(slow.t + 4)
    assert len(slow.answers) == before + 1
    deaf = quirky(Quirks(drops_answers=1.0)).charge()
    assert deaf.limit(8) is None
    assert deaf.station.connectors[0].entitled_a == 8


def test_small_commands_are_answered(central: Central) -> None:
    central.charge()
    assert central.ask("ClearCache", {}) == {"status": "Accepted"}
    assert central.ask("DataTransfer", {"vendorId": "x"})["status"] == "UnknownVendorId"
    assert central.ask("ClearChargingProfile", {}) == {"status": "Unknown"}
    assert central.ask("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}) == {"status": "Scheduled"}
    assert central.ask("UnlockConnector", {"connectorId": 1}) == {"status": "Unlocked"}
    assert central.ask("UnlockConnector", {"connectorId": 4}) == {"status": "NotSupported"}
    assert central.of("StopTransaction")[0]["reason"] == "UnlockCommand"
    central.station.unplug(1)
    central.serve()
    assert central.statuses()[-1] == "Unavailable"
    central.station.plug(1, Car(CarModel()))
    central.station.present(1, "aa")
    central.serve()
    assert len(central.of("StartTransaction")) == 1


def test_a_station_asks_to_be_woken_only_when_something_is_due(central: Central) -> None:
    central.connect()
    assert central.station.due == 60
    central.charge()
    assert central.station.due > central.t + 1


def test_a_refused_transaction_message_is_tried_again_and_in_the_end_given_up(central: Central) -> None:
    central.charge()
    for key, value in (("TransactionMessageAttempts", "2"), ("TransactionMessageRetryInterval", "5")):
        assert central.ask("ChangeConfiguration", {"key": key, "value": value}) == {"status": "Accepted"}
    central.deaf = True
    central.station.unplug(1)

    def refuse() -> dict[str, Any]:
        frame = json.loads(central.station.outbox.pop(0))
        assert frame[2] == "StopTransaction"
        central.station.receive(json.dumps([4, frame[1], "InternalError", "", {}]), central.station.t)
        payload: dict[str, Any] = frame[3]
        return payload

    first = refuse()
    central.station.advance(central.t + 4)
    assert central.station.outbox == []
    central.station.advance(central.t + 6)
    assert refuse() == first
    assert central.station.calls.durable_waiting == 0


def test_an_unanswered_call_is_given_up_after_thirty_seconds(central: Central) -> None:
    central.deaf = True
    central.connect()
    central.until(59)
    assert len(central.of("BootNotification")) == 1
    central.until(61)
    assert len(central.of("BootNotification")) == 2


def test_a_remote_start_may_ask_for_the_badge_first(central: Central) -> None:
    central.connect()
    central.ask("ChangeConfiguration", {"key": "AuthorizeRemoteTxRequests", "value": "true"})
    central.station.plug(1, Car(CarModel()))
    assert central.ask("RemoteStartTransaction", {"idTag": "r"}) == {"status": "Accepted"}
    assert central.of("Authorize") == [{"idTag": "r"}]
    assert central.station.connectors[0].session is not None


def test_triggers_send_what_they_ask_for(central: Central) -> None:
    central.connect()
    for message, action in (("Heartbeat", "Heartbeat"), ("MeterValues", "MeterValues")):
        assert central.ask("TriggerMessage", {"requestedMessage": message}) == {"status": "Accepted"}
        assert central.heard[-1][0] == action
    assert "transactionId" not in central.of("MeterValues")[0]
    answer = central.ask("TriggerMessage", {"requestedMessage": "DiagnosticsStatusNotification"})
    assert answer == {"status": "NotImplemented"}


def test_the_local_list_is_versioned_and_bounded(central: Central) -> None:
    def update(version: int, *tags: str, full: bool = False, drop: bool = False) -> str:
        info = {} if drop else {"idTagInfo": {"status": "Accepted"}}
        entries = [{"idTag": tag} | info for tag in tags]
        kind = "Full" if full else "Differential"
        payload = {"listVersion": version, "updateType": kind, "localAuthorizationList": entries}
        return str(central.ask("SendLocalList", payload)["status"])

    central.connect()
    assert update(2, "a", "b", full=True) == "Accepted"
    assert update(2, "c") == "VersionMismatch"
    assert update(3, "a", drop=True) == "Accepted"
    assert [central.station.badges.known(tag) is not None for tag in "abc"] == [False, True, False]
    assert update(4, *(str(n) for n in range(501))) == "Failed"


def test_the_whole_station_is_taken_out_of_service_and_back(central: Central) -> None:
    central.connect()
    for kind, status in (("Inoperative", "Unavailable"), ("Operative", "Available")):
        assert central.ask("ChangeAvailability", {"connectorId": 0, "type": kind}) == {"status": "Accepted"}
        assert central.statuses()[-1] == status
    assert central.ask("ChangeAvailability", {"connectorId": 7, "type": "Operative"}) == {"status": "Rejected"}


def test_some_stations_report_one_current_and_their_meters_err() -> None:
    central = quirky(Quirks(one_current=True, meter_gain=1.02, hides_pause=True)).connect()
    central.ask("ChangeConfiguration", {"key": "MeterValuesSampledData", "value": "Current.Import,Current.Offered"})
    central.charge()
    central.ask("TriggerMessage", {"requestedMessage": "MeterValues"})
    sampled = central.of("MeterValues")[-1]["meterValue"][0]["sampledValue"]
    assert [(s["measurand"], s.get("phase"), s["value"]) for s in sampled] == [
        ("Current.Import", None, "16.32"),
        ("Current.Offered", None, "16.0"),
    ]
    central.limit(0)
    central.until(central.t + 3)
    assert central.station.connectors[0].draw_a == (0, 0, 0)
    assert central.statuses()[-1] == "Charging"
