"""A server from its start to its end, and again where a restore or a factory reset asks for that."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from pathlib import Path
from typing import Any

import attrs

from llm_app.doors import TlsFiles
from llm_app.faults import WrongInput
from llm_app.wiring import Options, serving

GARBAGE_AFTER = 50_000  # objects; Python's own 700 make it look through everything every few seconds


def spare_the_loop() -> None:
    """Keep the collector of cyclic garbage from stalling the control loop.

    With 1 000 stations a full pass takes a third of a second. What is there once the server has started stays, so it
    is never looked at again; what comes later is values without cycles, freed without the collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER, 10, 10)


def serve(options: Options) -> None:
    """Run until told to stop."""
    again: Options | None = options
    while again is not None:
        again = asyncio.run(_until_over(again))


async def _until_over(options: Options) -> Options | None:
    """Run until told to stop; or to start anew, at the same ports, after a restore or a factory reset."""
    async with serving(options) as running:
        spare_the_loop()
        scheme = "https" if options.https else "http"
        encrypted = f" and wss://{running.ocpp_tls}/ocpp/<station id>" if running.ocpp_tls is not None else ""
        sys.stdout.write(
            f"Pages on {scheme}://{running.http}, stations on ws://{running.ocpp}/ocpp/<station id>{encrypted}\n"
        )
        sys.stdout.flush()
        stop, anew = asyncio.create_task(until_stopped()), asyncio.create_task(running.ended.wait())
        await asyncio.wait([stop, anew], return_when=asyncio.FIRST_COMPLETED)
        is_over = stop.done()
        stop.cancel()
        anew.cancel()
    encrypted_at = running.ocpp_tls
    return None if is_over else attrs.evolve(options, http=running.http, ocpp=running.ocpp, ocpp_tls=encrypted_at)


async def until_stopped() -> None:
    """Return at the first SIGTERM or SIGINT."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


def own_certificates(settings: dict[str, Any], config: Path | None) -> TlsFiles | None:
    """The installer's files, beside the TOML file where they are not named from the root; both or none."""
    names = ("tls_cert", "tls_key", "tls_client_ca")
    if config is None or not any(name in settings for name in names):
        return None
    if not ("tls_cert" in settings and "tls_key" in settings):
        raise WrongInput(f"{config}: tls_cert and tls_key belong together")
    client_ca = config.parent / str(settings["tls_client_ca"]) if "tls_client_ca" in settings else None
    return TlsFiles(config.parent / str(settings["tls_cert"]), config.parent / str(settings["tls_key"]), client_ca)
