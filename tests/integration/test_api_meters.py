"""Meters over HTTP and on the command line: which there are, what one says, and whether it can be right."""

from __future__ import annotations

import json
import threading
from asyncio import new_event_loop, run_coroutine_threadsafe
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from test_api import House, admin, house, pointers, served
from test_modbus_every_model import Device, device_of
from test_modbus_every_model import served as on_a_server

from llm_app.cli import run

__all__ = ["admin", "house", "served"]  # the scene of the other tests of the API

TEST = "/api/v1/meters/test"
GOOD = {"model": "eastron_sdm630", "host": "good"}


def test_a_meter_is_tried_before_it_is_saved(admin: httpx.Client) -> None:
    answer = admin.post(TEST, json=GOOD)
    assert answer.json() == {
        "model": "eastron_sdm630",
        "current_a": {"L1": 10.25, "L2": -2, "L3": 0},
        "voltage_v": {"L1": 230.1, "L2": 231, "L3": 229},
        "power_w": 1900,
        "energy_import_wh": 5000,
        "energy_export_wh": 7,
        "frequency_hz": 50.01,
        "answered": True,
        "silent_because": None,
        "identified": True,
        "verdict": "attention",
        "findings": [
            {
                "code": "feeds_in",
                "phase": "L2",
                "text": "Current is fed in: right with solar panels; else turn the transformer or set invert.",
            }
        ],
    }
    assert admin.get("/api/v1/meters").json() == {"meters": []}


def test_a_silent_meter_says_why(admin: httpx.Client) -> None:
    answer = admin.post(TEST, json={**GOOD, "host": "nobody"}).json()
    assert (answer["verdict"], answer["answered"], answer["silent_because"]) == ("silent", False, "no connection")
    assert answer["current_a"] == {"L1": None, "L2": None, "L3": None}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"host": "good"}, "/model"),
        ({**GOOD, "model": "nobody"}, "/model"),
        ({"model": "manual", "load_a": 5}, "/model"),
        ({"model": "eastron_sdm630"}, "/host"),
        ({"model": "eastron_sdm630", "transport": "rtu"}, "/serial"),
        ({**GOOD, "ct": {"primary_a": 10, "secondary_a": 5}}, "/ct"),
        ({**GOOD, "colour": "red"}, "/colour"),
    ],
)
def test_what_is_no_meter_is_refused_at_its_place(admin: httpx.Client, body: dict[str, object], where: str) -> None:
    assert pointers(admin.post(TEST, json=body)) == [where]


def test_only_an_administrator_tries_meters(house: House) -> None:
    with house.client(None) as nobody:
        assert nobody.post(TEST, json=GOOD).status_code == 401


def test_the_models_are_listed(admin: httpx.Client) -> None:
    assert admin.get("/api/v1/meters/models").json() == {"models": ["abb_b23", "eastron_sdm630"]}


@pytest.mark.parametrize(
    "meter",
    [
        {"node": "site", "model": "abb_b23", "transport": "rtu", "serial": "/dev/ttyUSB0", "baud": 19200, "unit": 7},
        {"node": "site", "model": "abb_b23", "transport": "rtu_over_tcp", "host": "10.0.0.7"},
        {"node": "site", "model": "manual", "load_a": {"L1": 5, "L2": 4, "L3": 3.5}},
        {"node": "default", "model": "stations"},
    ],
)
def test_every_way_to_a_meter_is_kept(admin: httpx.Client, meter: dict[str, object]) -> None:
    shown = admin.put("/api/v1/meters", json={"meters": [meter]}).json()["meters"][0]
    assert {key: shown[key] for key in meter} == meter
    assert admin.put("/api/v1/meters", json={"meters": [shown]}).json()["meters"] == [shown]


# The command line


@pytest.fixture
def device() -> Iterator[tuple[Device, int]]:
    """An SDM630 on a server in a thread of its own, and its port."""
    loop, meter = new_event_loop(), Device(device_of("eastron_sdm630"), 4)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    context = on_a_server(meter)
    try:
        yield meter, run_coroutine_threadsafe(context.__aenter__(), loop).result(10)
    finally:
        run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def test_a_meter_is_read_on_the_command_line(
    device: tuple[Device, int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = ["--host", "127.0.0.1", "--port", str(device[1])]
    assert run(["meter", "read", "--model", "eastron_sdm630", *place, "--unit", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"] == "eastron_sdm630"
    assert said["current_a"] == {"L1": 12, "L2": -7, "L3": 3}
    assert said["voltage_v"] == {"L1": 230, "L2": 231, "L3": 229}
    assert (said["power_w"], said["energy_import_wh"], said["frequency_hz"]) == (1840, 1234000, None)
    assert run(["meter", "read", "--model", "eastron_sdm630", *place]) == 0
    assert capsys.readouterr().out.startswith("L1 12.00 A  L2 -7.00 A  L3 3.00 A  230 V")
    own = tmp_path / "meters" / "mine.toml"
    own.parent.mkdir()
    own.write_text(
        'id = "mine"\nname = "Mine"\nfunction_code = 4\nword_order = "big"\n[points]\n'
        'current_L1 = { address = 10, type = "float32" }\n'
    )
    data = ["--data", str(tmp_path)]
    assert run(["meter", "read", "--model", "mine", *place, *data, "--json", "--ct-primary", "200"]) == 0
    assert json.loads(capsys.readouterr().out)["current_a"]["L1"] == 120


def test_a_meter_that_does_not_answer_is_an_error_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["meter", "read", "--model", "abb_b23", "--host", "127.0.0.1", "--port", "1"]) == 1
    assert capsys.readouterr().err == "llm-app: no reading: no connection\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "eastron_sdm72d_m", "--host", "h"], "sum of the phases only"),
        (["--model", "nothing", "--host", "h"], "there is no meter model"),
        (["--model", "abb_b23"], "--host"),
        (["--model", "abb_b23", "--host", "h", "--serial", "/dev/ttyS0"], "not both"),
        (["--model", "abb_b23", "--serial", "/dev/ttyS0", "--baud", "7"], "--baud"),
        (["--model", "abb_b23", "--host", "h", "--ct-primary", "7"], "--ct"),
    ],
)
def test_wrong_usage_is_told_in_a_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["meter", "read", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_models_are_listed_on_the_command_line_and_a_broken_file_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["meter", "models", "--json"]) == 0
    listed = {line["model"]: line for line in json.loads(capsys.readouterr().out)}
    assert len(listed) >= 23
    assert listed["hager_ecr140d"]["phases"] == 1
    assert listed["janitza_umg604"]["doubt"]
    (tmp_path / "meters").mkdir()
    (tmp_path / "meters" / "bad.toml").write_text('id = "bad"\nname = 5\n')
    assert run(["meter", "models", "--data", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "eastron_sdm630" in said.out
    assert "bad.toml:2" in said.err
