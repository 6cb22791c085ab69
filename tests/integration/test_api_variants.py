"""What programs send that is not quite what the documents show: understood where it is safe, refused where not."""

from __future__ import annotations

import logging
import socket
from urllib.parse import quote

import attrs
import httpx
import pytest
from test_api import House, admin, busy, house, pointers, problem, served

from llm_core import StationConnected

__all__ = ["admin", "house", "served"]  # the scene of the other tests of the API


def test_nothing_at_all_resets_no_resource(admin: httpx.Client) -> None:
    supply = admin.put("/api/v1/supply", json={"static_max_a": 40}).json()
    for name in ("supply", "clusters", "strategy", "access", "system", "meters", "uplink"):
        assert "{}" in problem(admin.put(f"/api/v1/{name}"), 400)["detail"]
    assert admin.get("/api/v1/supply").json() == supply
    assert admin.put("/api/v1/supply", json={}).json()["static_max_a"]["L1"] == 0


def test_a_station_hangs_on_the_site_where_the_default_cluster_was_removed(house: House, admin: httpx.Client) -> None:
    admin.put("/api/v1/supply", json={"static_max_a": 40})
    assert admin.put("/api/v1/clusters", json={"clusters": [{"id": "c1", "limit_a": 32}]}).is_success
    assert admin.post("/api/v1/stations", json={"id": "ST1"}).json()["cluster"] is None
    house.inbox.post(StationConnected("ST2", "127.0.0.1", "/ocpp/ST2"))
    assert admin.post("/api/v1/stations/ST2/adopt").json()["cluster"] is None
    assert pointers(admin.post("/api/v1/stations", json={"id": "ST3", "cluster": "default"})) == ["/cluster"]


@pytest.mark.parametrize("station_id", ["garage/1", "a%2Fb", "Säule 1", "CP;1", "100%", "?", ".."])
def test_a_station_is_reached_whatever_its_id(house: House, admin: httpx.Client, station_id: str) -> None:
    house.inbox.post(StationConnected(station_id, "127.0.0.1", "/ocpp/x"))
    at = f"/api/v1/stations/{quote(station_id, safe='').replace('.', '%2E')}"
    admin.put("/api/v1/supply", json={"static_max_a": 40})
    assert admin.get(at).json()["state"] == "pending"
    assert admin.post(f"{at}/adopt", json={"name": "Bay"}).json()["id"] == station_id
    assert admin.patch(at, json={"max_a": 20}).json()["max_a"] == 20
    assert admin.delete(at).status_code == 204


def test_a_slash_too_many_at_the_end_is_forgiven(admin: httpx.Client) -> None:
    assert admin.put("/api/v1/supply/", json={"static_max_a": 40}).status_code == 200
    assert admin.get("/api/v1/supply/").json() == admin.get("/api/v1/supply").json()
    problem(admin.get("/api/v1/"), 404)


def test_an_open_session_is_listed_with_its_latest_energy(house: House, admin: httpx.Client) -> None:
    """It is stored once a minute only."""
    busy(house, admin)
    session = house.inbox.state.connectors["ST1", 1].session
    assert session is not None
    house.shelf.kept = [attrs.evolve(session, energy_wh=0)]
    (listed,) = admin.get("/api/v1/sessions").json()
    assert (listed["state"], listed["energy_kwh"]) == ("open", 1.5)
    assert ",1.500," in admin.get("/api/v1/sessions?format=csv").text


def test_every_fault_of_an_order_is_a_sentence(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    refused = admin.post("/api/v1/stations/ST1/commands/unlock", json={"connector": 9})
    assert pointers(refused) == ["/connector"]
    assert refused.json()["errors"][0]["detail"] == "is none of this station's"


def test_a_sentence_ends_in_one_full_stop(admin: httpx.Client) -> None:
    refused = admin.put("/api/v1/meters", json={"meters": [{"model": "eastron_sdm72d_m"}]})
    assert not problem(refused, 422)["detail"].endswith("..")


def test_who_leaves_in_the_middle_of_a_body_is_not_logged(
    admin: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Each used to cost sixty lines of traceback: a thousand of them filled the log."""
    host, port = admin.base_url.host, admin.base_url.port
    assert port is not None
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with socket.create_connection((host, port)) as connection:
                connection.sendall(
                    f"PUT /api/v1/system HTTP/1.1\r\nHost: {host}:{port}\r\n"
                    f"Authorization: {admin.headers['Authorization']}\r\nContent-Length: 1000\r\n\r\n{{".encode()
                )
        assert admin.get("/api/v1/system").is_success
    assert caplog.records == []
