"""The Acme T3: asked by an empty line over TCP it answers `10.000 5.500 -3.250`, the amps of its three phases."""

from __future__ import annotations

import asyncio

from llm_core import Clock, MeterSampled, MeterSetup, ma_up

DEADLINE_S = 2.0


class AcmeMeter:
    """A `Meter`: one link, opened when it is needed, dropped at the first doubt."""

    def __init__(self, setup: MeterSetup, clock: Clock) -> None:
        self._setup, self._clock = setup, clock
        self._link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.silent_because: str | None = None  # the meter's test shows it

    async def read(self) -> MeterSampled | None:
        taken_ms = self._clock.monotonic_ms()  # when the question is sent, not when the answer came
        link, self._link = self._link, None  # whoever is interrupted leaves no half answer to the next
        try:
            async with asyncio.timeout(DEADLINE_S):
                link = link or await asyncio.open_connection(self._setup.host, self._setup.port)
                answer = await _asked(*link)
                currents_ma = _currents(answer)
        except (OSError, TimeoutError, ValueError) as error:
            self.silent_because = str(error) or "it does not answer"
            _drop(link)
            return None
        except asyncio.CancelledError:
            _drop(link)
            raise
        self._link, self.silent_because = link, None
        return MeterSampled(self._setup.node, currents_ma, taken_ms, fingerprint=hash(answer))

    async def close(self) -> None:
        link, self._link = self._link, None
        _drop(link)


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(b"\n")
    answer = await reader.readline()
    if not answer.endswith(b"\n"):
        raise ConnectionError("it hung up")
    return answer.decode("ascii").strip()


def _currents(answer: str) -> tuple[int, int, int]:
    """Raises `ValueError` for what is no line of a T3, text that is no number among it."""
    l1, l2, l3 = answer.split()
    return ma_up(l1), ma_up(l2), ma_up(l3)


def _drop(link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> None:
    if link is not None:
        link[1].close()
