"""What the forms of the pages hand to the core, and what they show of it."""

from __future__ import annotations

import attrs
from test_web_pages import change, signed_in
from web_scene import PASSWORD, Served, busy

from llm_core import (
    BadgesEdited,
    Cluster,
    CpoServer,
    Dashboard,
    OfflinePolicy,
    Order,
    PerPhase,
    PutClusters,
    PutMeters,
    PutSharing,
    PutStations,
    PutSupply,
    PutUplink,
    Sharing,
    SiteEdited,
    StationOrdered,
    Strategy,
    Uplink,
    UplinkStation,
)


def test_several_stations_change_alike_and_keep_what_was_left_empty(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        fields = {"stations": ["ST2", "ST1"], "cluster": "c2", "max_a": "", "priority": "7", "service": "out"}
        assert change(served, client, "/stations/bulk", fields).status_code == 303  # type: ignore[arg-type]
        assert "Tick the stations" in change(served, client, "/stations/bulk", {"max_a": "20"}).text
    stations = served.book.state.site.stations[:2]
    wanted = tuple(attrs.evolve(s, cluster="c2", priority=7, out_of_service=True) for s in stations)
    assert served.book.asked == [SiteEdited("administrator", PutStations(wanted))]


def test_a_cluster_is_saved_before_those_who_move_into_it(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        fields = {"name": "West", "parent": "c2", "limit_a": "16 / 16 / 10", "stations": "ST8"}
        assert change(served, client, "/clusters/new", fields).headers["location"] == "/clusters?done=saved"
    first, second = served.book.asked
    west = Cluster("c1", "West", "c2", PerPhase(16_000, 16_000, 10_000))
    assert first == SiteEdited("administrator", PutClusters((*served.book.state.site.clusters, west)))
    eighth = served.book.state.site.stations[7]
    assert second == SiteEdited("administrator", PutStations((attrs.evolve(eighth, cluster="c1"),)))


def test_a_cluster_that_something_hangs_under_is_not_removed(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        refused = change(served, client, "/clusters/c2/remove", {})
    assert "Move them elsewhere first" in refused.text
    assert not served.book.asked


def test_a_strategy_is_saved_whole(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        fields = {"strategy": "first_come", "minimum_first": "yes", "rotation_min": "20", "unbalance_a": "20"}
        change(served, client, "/strategy", fields)
        assert change(served, client, "/strategy", {**fields, "rotation_min": "0"}).status_code == 422
    wanted = Sharing(Strategy.FIRST_COME, True, 20, 20_000)
    assert served.book.asked == [SiteEdited("administrator", PutSharing(wanted))]


def test_the_preview_of_a_strategy_names_every_car_that_wants_current(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        html = change(served, client, "/strategy/preview", {"strategy": "priority", "rotation_min": "15"}).text
    assert html.count("<tr>") > 3
    assert "Bay 1" in html


def test_the_operator_is_saved_and_its_passwords_are_never_shown(served: Served) -> None:
    fields = {"enabled": "yes", "url": "wss://cpo.example/ocpp", "offline": "local"}
    with signed_in(served, "administrator") as client:
        change(served, client, "/uplink", {**fields, "ocpp_id_0": "NL-1", "password_0": "Operators-Secret"})
        assert "Operators-Secret" not in client.get("/uplink").text
        assert change(served, client, "/uplink", {**fields, "url": ""}).status_code == 422
    wanted = Uplink(True, fields["url"], OfflinePolicy.LOCAL, stations=(UplinkStation("ST1", "NL-1"),))
    assert served.book.asked == [SiteEdited("administrator", PutUplink(wanted))]


def test_the_list_of_servers_and_the_authority_are_edited_on_the_page(served: Served) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
    fields = {"enabled": "", "url": "wss://a.example/ocpp", "offline": "cached", "ca": pem}
    fields |= {"server_name_0": "Ay", "server_url_0": "wss://a.example/ocpp"}
    fields |= {"server_name_1": "", "server_url_1": "wss://b.example/ocpp", "server_name_2": "gone", "server_url_2": ""}
    with signed_in(served, "administrator") as client:
        change(served, client, "/uplink", fields)
        wrong = change(served, client, "/uplink", {**fields, "server_url_1": "http://b.example", "ca": "a key"})
    servers = (CpoServer("Ay", "wss://a.example/ocpp"), CpoServer("wss://b.example/ocpp", "wss://b.example/ocpp"))
    [edit] = served.book.asked
    assert isinstance(edit, SiteEdited)
    assert edit.edit == PutUplink(Uplink(False, fields["url"], OfflinePolicy.CACHED, ca=pem, servers=servers))
    assert wrong.status_code == 422
    assert 'id="server_url_1-fault"' in wrong.text
    assert 'id="ca-fault"' in wrong.text


def test_an_id_that_is_given_twice_is_told_at_its_field(served: Served) -> None:
    fields = {"enabled": "", "url": "wss://a.example/ocpp", "offline": "cached"}
    with signed_in(served, "administrator") as client:
        twice = change(served, client, "/uplink", {**fields, "ocpp_id_0": "NL-1", "ocpp_id_1": "NL-1"})
    assert twice.status_code == 422
    assert 'id="ocpp_id_0-fault"' in twice.text
    assert served.book.asked == []


def test_an_order_by_hand_goes_to_the_core_and_its_end_is_told(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        given = change(served, client, "/stations/ST1/order", {"order": "unlock", "connector": "1"})
        assert "The station does it." in client.get(given.headers["location"]).text
        assert change(served, client, "/stations/ST1/order", {"order": "explode"}).status_code == 400
    [order] = served.book.asked
    assert isinstance(order, StationOrdered)
    assert (order.order, order.connector, order.by) == (Order.UNLOCK, 1, "administrator")


def test_a_file_of_badges_is_looked_at_before_it_is_taken(served: Served) -> None:
    upload = {"file": ("badges.csv", b"badgeId,type,comment\nA1B2C3,SUPER,Boss\nNEW7,STANDARD,Eva\n", "text/csv")}
    with signed_in(served, "advanced") as client:
        token = served.people.sessions[client.cookies["llm_session"]].csrf
        looked = client.post("/badges/import", data={"csrf": token}, files=upload).text
        assert not served.book.asked
        assert ">new<" in looked.replace("</svg>", "<>")
        content = looked.split('name="content" value="')[1].split('"')[0]
        done = change(served, client, "/badges/import", {"content": content, "go": "import"})
    assert done.headers["location"] == "/badges?done=imported&n=1"
    [edited] = served.book.asked
    assert isinstance(edited, BadgesEdited)
    assert [badge.badge_id for badge in edited.put] == ["A1B2C3", "NEW7"]


def test_a_bay_is_public_with_the_overview_and_then_names_nobody(served: Served) -> None:
    with signed_in(served, "standard") as client:
        assert "Müller" in client.get("/bay/ST1").text
        client.cookies.clear()
        assert client.get("/bay/ST1").status_code == 303
        served.book.state = busy(dashboard=Dashboard.PUBLIC)
        html = client.get("/bay/ST1").text
        assert "Bay 1" in html
        assert "Müller" not in html
        assert "A1B2C3" not in html
        assert client.get("/bay/EV-NEW-01").status_code == 404


def test_a_user_is_added_with_a_temporary_password_that_keeps_the_rules(served: Served) -> None:
    fields = {"name": "Eva", "role": "standard", "new": PASSWORD, "confirm": PASSWORD, "password": PASSWORD}
    with signed_in(served, "administrator") as client:
        weak = change(served, client, "/users", {**fields, "new": "weak", "confirm": "weak"})
        assert "It still needs" in weak.text
        assert change(served, client, "/users", fields).status_code == 303
        assert served.people.roles["Eva"].temporary
        assert "already" in change(served, client, "/users", fields).text
        only = {"name": "administrator", "go": "remove", "password": PASSWORD}
        assert "own account" in change(served, client, "/users/change", only).text


def test_changes_are_told_setting_by_setting(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        html = client.get("/audit").text
    assert "<del>3</del> → <ins>1</ins>" in html
    assert "Phases" in html
    assert "Restart of a station" in html


def test_what_a_meter_sees_and_how_long_a_limit_holds_is_read_and_kept(served: Served) -> None:
    supply = {"mode": "dynamic", "phases": "3", "fuse_a": "63", "derated_a": "50.4", "static_max_a": "40"}
    supply |= {"fallback_a": "16", "password": PASSWORD, "network": "with_neutral", "lease_s": "60"}
    meter = {"model": "shelly_pro_3em", "transport": "tcp", "host": "10.0.0.7", "port": "502", "unit": "3"}
    meter |= {"measures": "direct", "includes": "others"}
    with signed_in(served, "administrator") as client:
        change(served, client, "/settings/supply", supply)
        change(served, client, "/settings/supply", {**supply, "lease_s": ""})
        assert change(served, client, "/settings/supply", {**supply, "lease_s": "10"}).status_code == 422
        change(served, client, "/settings/meter", meter)
    short, usual, others = (event.edit for event in served.book.asked if isinstance(event, SiteEdited))
    assert isinstance(short, PutSupply)
    assert isinstance(usual, PutSupply)
    assert isinstance(others, PutMeters)
    assert (short.supply.lease_s, usual.supply.lease_s) == (60, None)
    assert not others.meters[0].includes_stations


def test_what_cannot_be_taken_back_asks_for_the_name_of_the_site_and_the_password(served: Served) -> None:
    sure = {"confirm": "Parking Kerkstraat", "password": PASSWORD}
    with signed_in(served, "administrator") as client:
        token = served.people.sessions[client.cookies["llm_session"]].csrf

        def restored(fields: dict[str, str], content: bytes) -> str:
            return client.post("/system/restore", data={"csrf": token, **fields}, files={"file": content}).text

        assert "exactly as it stands" in restored({**sure, "confirm": "parking"}, b"good")
        assert "Your password is wrong." in restored({**sure, "password": ""}, b"good")
        assert "Choose the file of a backup." in restored(sure, b"")
        assert "This is no backup" in restored(sure, b"bad")
        assert "The backup is being restored." in restored(sure, b"good")
        refused = change(served, client, "/system/reset", {**sure, "confirm": ""})
        assert refused.status_code == 422
        assert 'id="reset" open' in refused.text.replace("  ", " ")
        assert "Everything is being erased." in change(served, client, "/system/reset", sure).text
