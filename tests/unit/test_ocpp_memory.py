"""What is known of stations of one kind: learned from one, offered to the next, kept over restarts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_adapters.ocpp16.adoption import Configuration, read_configuration, set_up_readings
from llm_adapters.ocpp16.memory import Memory
from llm_adapters.ocpp16.profiles import Dialect
from llm_core import StationBooted

POST = StationBooted("CP_1", "Acme", "Post", "1.0")
INTERVAL = "MeterValueSampleInterval"


class Models:
    """`ModelMemory` in a dict."""

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}

    def recall(self, model: str) -> str | None:
        return self.documents.get(model)

    def remember(self, model: str, document: str) -> None:
        self.documents[model] = document


def booted(models: Models, boot: StationBooted = POST) -> Memory:
    memory = Memory.of(boot.station_id, models)
    memory.booted(boot)
    return memory


def configured(**values: str) -> Configuration:
    fits = {"MeterValuesSampledData": "Current.Import,Power.Active.Import,Energy.Active.Import.Register"}
    listed = [{"key": key, "value": value} for key, value in (fits | values).items()]
    return read_configuration({"configurationKey": listed})


def changes_of(memory: Memory, configuration: Configuration, **answers: str) -> list[tuple[str, str]]:
    """The changes a station is asked for that answers each value so."""
    asked: list[tuple[str, str]] = []

    async def call(action: str, payload: dict[str, Any]) -> dict[str, Any]:
        if action == "ChangeConfiguration":
            asked.append((payload["key"], payload["value"]))
            return {"status": answers.get("_" + payload["value"], "Rejected")}
        return {"status": "Accepted"}

    asyncio.run(set_up_readings(call, configuration, memory))
    return asked


def test_what_one_station_was_found_to_want_the_next_of_its_kind_is_offered_first() -> None:
    models, watts = Models(), Dialect(in_watts=True, takes_periods=False, step_ma=1_000)
    booted(models).speaks(watts)
    assert booted(models, StationBooted("CP_2", "Acme", "Post", "1.0")).dialect == watts
    assert booted(models, StationBooted("CP_2", "Acme", "Post", "1.1")).dialect == Dialect()
    assert booted(models, StationBooted("CP_2", "Acme", "Pole", "1.0")).dialect == Dialect()


def test_a_station_that_tells_no_model_is_of_no_kind() -> None:
    models = Models()
    booted(models, StationBooted("CP_1")).speaks(Dialect(in_watts=True))
    assert models.documents == {}


def test_a_new_firmware_is_another_kind() -> None:
    models = Models()
    booted(models, StationBooted("CP_9", "Acme", "Post", "2.0")).speaks(Dialect(in_watts=True))
    memory = booted(models)
    memory.booted(StationBooted("CP_1", "Acme", "Post", "2.0"))
    assert memory.dialect.in_watts


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"dialect": {}}', '{"dialect": {"x": 1}, "useless": []}'])
def test_what_another_version_wrote_is_learned_anew(document: str) -> None:
    models = Models()
    models.documents["Acme / Post / 1.0"] = document
    assert booted(models).dialect == Dialect()


def test_an_interval_that_is_refused_is_not_asked_of_the_next_of_its_kind() -> None:
    models = Models()
    slow = configured(**{INTERVAL: "60"})
    assert changes_of(booted(models), slow, _30="Accepted") == [(INTERVAL, "10"), (INTERVAL, "15"), (INTERVAL, "30")]
    assert changes_of(booted(models), slow, _30="Accepted") == [(INTERVAL, "30")]


def test_a_station_that_restarts_on_a_change_and_forgets_it_is_asked_once() -> None:
    models = Models()
    memory, slow = booted(models), configured(**{INTERVAL: "60"})
    assert changes_of(memory, slow, _10="RebootRequired") == [(INTERVAL, "10")]
    assert changes_of(memory, slow, _15="RebootRequired") == [(INTERVAL, "15")]
    assert changes_of(booted(models), slow, _30="Accepted") == [(INTERVAL, "15"), (INTERVAL, "30")]


def test_a_station_that_reports_often_enough_is_left_alone() -> None:
    assert changes_of(booted(Models()), configured(**{INTERVAL: "5"})) == []
