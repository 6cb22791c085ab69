"""The name on the local network and who else is there, on the loopback interface; without the extra, silence."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import PATIENCE_S

from llm_adapters.mdns.neighbours import Neighbours
from llm_app.local_name import local_name

LOOPBACK = ["127.0.0.1"]


async def until(holds: Callable[[], bool]) -> None:
    end = asyncio.get_running_loop().time() + PATIENCE_S
    while not holds():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.05)


def has_multicast() -> bool:
    """Whether a datagram to a multicast group comes back on loopback."""
    group, own = socket.inet_aton("239.255.77.77"), socket.inet_aton("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.settimeout(2)
            one.bind(("", 0))
            one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + own)
            one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            one.sendto(b"x", ("239.255.77.77", one.getsockname()[1]))
            return one.recv(1) == b"x"
        except OSError:
            return False


def test_two_controllers_see_one_another_and_forget_who_leaves() -> None:
    pytest.importorskip("zeroconf")

    async def scenario() -> None:
        one = Neighbours("llm-000001", ["192.0.2.1", "127.0.0.1"], 8080, 9000)
        other = Neighbours("llm-000002", ["192.0.2.2"], 8081, 9001)
        first, second = (asyncio.create_task(who.run(LOOPBACK)) for who in (one, other))
        await until(lambda: len(one.seen()) == 2 and len(other.seen()) == 2)
        seen = {told["service"]: told for told in one.seen()}
        assert seen["_ocpp._tcp"] == {
            "name": "llm-000002",
            "host": "llm-000002.local",
            "address": "192.0.2.2",
            "service": "_ocpp._tcp",
        }
        assert {told["address"] for told in other.seen()} == {"192.0.2.1"}
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        await until(lambda: not one.seen())
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    if not has_multicast():
        pytest.skip("this machine has no multicast on loopback")
    asyncio.run(scenario())


def test_without_the_extra_there_is_no_name_and_no_fault(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    caplog.set_level("INFO")
    neighbours = Neighbours("llm-000001", ["not an address", "fe80::1%eth0", "2001:db8::1"], 8080, 9000)
    asyncio.run(neighbours.run())
    assert list(neighbours.seen()) == []
    assert "not installed" in caplog.text


def test_a_controller_keeps_its_name(tmp_path: Path) -> None:
    name = local_name(tmp_path)
    assert len(name) == len("llm-123456")
    assert local_name(tmp_path) == name
    (tmp_path / "uid").write_text("nonsense")
    assert local_name(tmp_path) != name
    assert local_name(tmp_path) == local_name(tmp_path)
    (tmp_path / "uid").write_bytes(b"\xff")
    assert local_name(tmp_path).startswith("llm-")


def test_where_nothing_can_be_kept_there_is_a_name_all_the_same(tmp_path: Path) -> None:
    assert local_name(tmp_path / "nowhere").startswith("llm-")
