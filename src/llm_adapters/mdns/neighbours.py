"""A name that needs no name server (RFC 6762), and the services that others announce (RFC 6763).

An optional extra: without the package `zeroconf`, or where the network refuses, there is no name and nobody is seen,
and nothing else is the worse for it. What is announced is a help to find a station, never a proof: a station is who
connects and proves it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

log = logging.getLogger("llm.mdns")

SERVICES = ("_ocpp._tcp.local.", "_evse._tcp.local.", "_evcharger._tcp.local.", "_http._tcp.local.")
MOST_SEEN = 100
LOOK_UP_MS = 2_000
LONGEST_NAME = 100


class Neighbours:
    """Announces `name`.local while `run` runs, and keeps what others announce."""

    def __init__(self, name: str, addresses: Iterable[str], http_port: int, ocpp_port: int) -> None:
        self._name = name
        self._addresses = [packed for address in addresses if (packed := _packed(address)) is not None]
        self._ports = {"_http._tcp.local.": http_port, "_ocpp._tcp.local.": ocpp_port}
        self._seen: dict[str, Mapping[str, str]] = {}
        self._looking: set[asyncio.Task[None]] = set()

    def seen(self) -> Sequence[Mapping[str, str]]:
        """Who announces itself now: `name`, `host`, `address`, `service`."""
        return [self._seen[key] for key in sorted(self._seen)]

    async def run(self, interfaces: Sequence[str] | None = None) -> None:
        """Announce and listen until cancelled; returns at once, with a line in the log, where that cannot be."""
        try:
            from zeroconf import Error
            from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf
        except ImportError:
            log.info("no name on the local network: the extra “mdns” is not installed")
            return
        try:
            network = AsyncZeroconf(interfaces=list(interfaces)) if interfaces is not None else AsyncZeroconf()
        except OSError as error:
            log.warning("no name on the local network: %s", error)
            return
        try:
            await self._register(network)
            browser = AsyncServiceBrowser(network.zeroconf, list(SERVICES), handlers=[self._heard(network)])
            try:
                await asyncio.Event().wait()
            finally:
                await browser.async_cancel()
        except (OSError, Error) as error:
            log.warning("no name on the local network: %s", error or type(error).__name__)
        finally:
            for looking in self._looking:
                looking.cancel()
            await asyncio.gather(*self._looking, return_exceptions=True)
            await network.async_unregister_all_services()
            await network.async_close()

    async def _register(self, network: Any) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        for service, port in self._ports.items():
            info = AsyncServiceInfo(
                service,
                f"{self._name}.{service}",
                port=port,
                addresses=self._addresses,
                server=f"{self._name}.local.",
                properties={"path": "/" if service.startswith("_http") else "/ocpp/"},
            )
            await network.async_register_service(info)
        log.info("reachable on the local network as %s.local", self._name)

    def _heard(self, network: Any) -> Any:
        from zeroconf import ServiceStateChange

        def heard(zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
            if state_change is ServiceStateChange.Removed:
                self._seen.pop(name, None)
            elif zeroconf is network.zeroconf and not name.startswith(f"{self._name}."):
                looking = asyncio.ensure_future(self._look_up(network, service_type, name))
                self._looking.add(looking)
                looking.add_done_callback(self._looking.discard)

        return heard

    async def _look_up(self, network: Any, service: str, name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(service, name)
        if name not in self._seen and len(self._seen) >= MOST_SEEN:
            return
        if not await info.async_request(network.zeroconf, LOOK_UP_MS):
            return
        told = {
            "name": name.removesuffix(f".{service}"),
            "host": (info.server or "").rstrip("."),
            "address": next(iter(info.parsed_addresses()), ""),
            "service": service.removesuffix(".local."),
        }
        self._seen[name] = {key: _plain(value) for key, value in told.items()}


def _plain(text: str) -> str:
    return "".join(filter(str.isprintable, text))[:LONGEST_NAME]


def _packed(address: str) -> bytes | None:
    """An address as announced; None for those of this machine alone and for link-local ones with a zone."""
    if address.startswith("127.") or address == "::1" or "%" in address:
        return None
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.inet_pton(family, address)
    except OSError:
        return None
