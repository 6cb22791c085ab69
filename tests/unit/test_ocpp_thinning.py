"""A flood of readings is answered and thinned: the newest of each connector counts, and none is taken out of turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from llm_adapters.ocpp16.thinning import A_SECOND, BURST, MOST_HELD, Thinning

Payload = dict[str, Any]


def run(scenario: Callable[[Thinning, list[Payload]], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        taken: list[Payload] = []
        await scenario(Thinning(taken.append), taken)

    asyncio.run(whole())


def told(number: int, connector: int = 1, transaction: int | None = 7) -> Payload:
    return {"connectorId": connector, "transactionId": transaction, "number": number}


def offer(thinning: Thinning, payload: Payload) -> None:
    thinning.offer(payload["connectorId"], payload)


def numbers(taken: list[Payload]) -> list[int]:
    return [payload["number"] for payload in taken]


def test_a_burst_is_taken_whole_and_of_the_rest_the_newest() -> None:
    async def scenario(thinning: Thinning, taken: list[Payload]) -> None:
        for number in range(BURST + 100):
            offer(thinning, told(number))
        assert numbers(taken) == list(range(BURST))
        await asyncio.sleep(2 / A_SECOND)
        assert numbers(taken) == [*range(BURST), BURST + 99]
        assert thinning.thinned == 99

    run(scenario)


def test_every_connector_and_transaction_keeps_its_newest_in_the_order_they_came() -> None:
    async def scenario(thinning: Thinning, taken: list[Payload]) -> None:
        for number in range(BURST):
            offer(thinning, told(number))
        for payload in (told(1_000), told(1_001, 2), told(1_002, 1, 8), told(1_003), told(1_004, 2)):
            offer(thinning, payload)
        thinning.flush()
        assert numbers(taken)[BURST:] == [1_002, 1_003, 1_004]
        thinning.flush()
        assert len(taken) == BURST + 3

    run(scenario)


def test_what_is_held_is_bounded() -> None:
    async def scenario(thinning: Thinning, taken: list[Payload]) -> None:
        for number in range(BURST):
            offer(thinning, told(number))
        for transaction in range(1_000):
            offer(thinning, told(transaction, 1, transaction))
        assert len(taken) >= BURST + 1_000 - MOST_HELD

    run(scenario)


def test_a_station_that_reports_at_a_usual_pace_is_never_thinned() -> None:
    async def scenario(thinning: Thinning, taken: list[Payload]) -> None:
        for number in range(5):
            offer(thinning, told(number))
            assert numbers(taken)[-1] == number
            await asyncio.sleep(0.01)

    run(scenario)
