"""What stations cost, in ratios measured in one run: `uv run python benchmarks/stations.py [--quick]`.

- MeterValues answered by the complete server from 20 stations on loopback, against a bare `websockets` server that
  parses and answers the same messages with `json` alone;
- the memory of a connected station, with 1 000 of them;
- the ticks of that server while each of the 1 000 reports every 10 s.

Servers run in a process of their own; the stations here send bytes made beforehand, so that they cost little.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import secrets
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

STATIONS, CROWD = 20, 1_000
PERIOD_S = 10.0
SETTLE_S, MEASURED_S = 45.0, 70.0  # the server tells of its last minute

ECHO = """
import asyncio, json
from websockets.asyncio.server import serve

async def answer(connection):
    async for message in connection:
        _, unique_id, action, payload = json.loads(message)
        if action == "MeterValues":
            await connection.send(json.dumps([3, unique_id, {}]))
        else:
            await connection.send(json.dumps([3, unique_id, {"currentTime": "2026-01-01T00:00:00Z"}]))

async def main():
    async with serve(answer, "127.0.0.1", 0, subprotocols=["ocpp1.6"], compression=None, ping_interval=None) as server:
        print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpp", flush=True)
        await asyncio.Future()

asyncio.run(main())
"""


def name(number: int) -> str:
    return f"S{number:04}"


# Servers


@contextmanager
def echo() -> Iterator[tuple[str, int]]:
    """A bare server; gives the URL for stations and its process."""
    with subprocess.Popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        process.kill()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server:
    """A complete server with this many stations, free access and a static supply."""

    def __init__(self, data: Path, stations: int) -> None:
        run = [sys.executable, "-m", "llm_app"]
        token = subprocess.check_output([*run, "token", "create", "--role", "administrator", "--data", str(data)])
        self._headers = {"Authorization": f"Bearer {token.decode().strip()}"}
        supply = {"mode": "static", "phases": 3, "fuse_a": 6_000, "static_max_a": 6_000}
        known = [{"id": name(n)} for n in range(stations)]
        document = {"supply": supply, "stations": known, "access": {"rule": "free"}}
        configuration = data / "configuration.json"
        configuration.write_text(json.dumps(document))
        subprocess.check_call([*run, "config", "import", str(configuration), "--data", str(data)])
        address = ["--http", "127.0.0.1:0", "--ocpp", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*run, "server", "--data", str(data), *address], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"(http://[\d.]+:\d+).*(ws://[\d.]+:\d+/ocpp)", line)
        assert found is not None, line
        self._http, self.ocpp = found[1], found[2]

    def memory_kb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])

    def metrics(self) -> str:
        return httpx.get(f"{self._http}/metrics", headers=self._headers, timeout=30).text

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def complete(stations: int) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="llm-benchmark-") as folder:
        server = Server(Path(folder), stations)
        try:
            yield server
        finally:
            server.stop()


# Stations


class Client:
    """A station that sends frames made beforehand and reads answers without looking into them."""

    def __init__(self, url: str, station_id: str) -> None:
        host, _, port = url.split("/")[2].partition(":")
        self.stream = socket.create_connection((host, int(port)))
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self.stream.sendall(
            f"GET /ocpp/{station_id} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.stream.recv(1)
        assert b" 101 " in head, head
        self._rest = b""
        self._sent = 0

    def send(self, action: str, payload: str) -> None:
        self._sent += 1
        self.stream.sendall(masked(f'[2,"{self._sent}","{action}",{payload}]'))

    def texts(self) -> list[bytes]:
        """The messages that have come, at least one; pings are answered."""
        self._rest += self.stream.recv(65_536)
        texts = []
        while len(self._rest) >= 2:
            length, head = self._rest[1] & 127, 2
            if length == 126:
                length, head = int.from_bytes(self._rest[2:4], "big"), 4
            if len(self._rest) < head + length:
                break
            kind, body = self._rest[0] & 15, self._rest[head : head + length]
            self._rest = self._rest[head + length :]
            if kind == 9:
                self.stream.sendall(b"\x8a" + bytes([0x80 | len(body)]) + b"\0\0\0\0" + body)
            elif kind == 1:
                texts.append(body)
        return texts

    def take(self) -> bool:
        """Read what has come; answer calls; whether our own call was answered."""
        answered = False
        for text in self.texts():
            if text.startswith((b"[3", b"[4")):
                answered = True
            else:
                _, unique_id, action, _ = json.loads(text)
                self.stream.sendall(masked(json.dumps([3, unique_id, ANSWERS.get(action, {"status": "Accepted"})])))
        return answered


ANSWERS = {
    "GetConfiguration": {
        "configurationKey": [
            {"key": key, "readonly": False, "value": value}
            for key, value in {
                "ChargingScheduleAllowedChargingRateUnit": "Current",
                "ChargeProfileMaxStackLevel": "8",
                "MeterValueSampleInterval": "10",
                "MeterValuesSampledData": "Current.Import,Energy.Active.Import.Register,Power.Active.Import",
            }.items()
        ]
    },
    "ClearChargingProfile": {"status": "Unknown"},
}


def masked(text: str) -> bytes:
    """A text frame of a client, with a mask of zeros: a mask is a matter of form, and costs us nothing so."""
    data = text.encode()
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + length + b"\0\0\0\0" + data


def readings(stamp: str = "2026-01-01T00:00:00Z") -> str:
    """What a three-phase station reports: currents, power, energy."""
    values = [
        {"value": "5.0", "context": "Sample.Periodic", "measurand": "Current.Import", "phase": phase, "unit": "A"}
        for phase in ("L1", "L2", "L3")
    ]
    values.append({"value": "3450", "context": "Sample.Periodic", "measurand": "Power.Active.Import", "unit": "W"})
    values.append({"value": "1234567", "measurand": "Energy.Active.Import.Register", "unit": "Wh"})
    return json.dumps({"connectorId": 1, "meterValue": [{"timestamp": stamp, "sampledValue": values}]})


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# Throughput


def throughput(url: str, pid: int, seconds: float) -> tuple[float, float]:
    """MeterValues a second, each of the stations with one call out at a time; and the server's time for each."""
    clients = [Client(url, name(n)) for n in range(STATIONS)]
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.stream, selectors.EVENT_READ, client)
        client.send("BootNotification", '{"chargePointVendor":"Acme","chargePointModel":"Post"}')
    settle = time.monotonic() + 2
    while time.monotonic() < settle:
        for key, _ in selector.select(0.1):
            key.data.take()
    frame = readings(now())
    for client in clients:
        client.send("MeterValues", frame)
    answered, began, spent_s = 0, time.monotonic(), cpu_s(pid)
    while time.monotonic() < began + seconds:
        for key, _ in selector.select(1):
            if key.data.take():
                answered += 1
                key.data.send("MeterValues", frame)
    elapsed, spent_s = time.monotonic() - began, cpu_s(pid) - spent_s
    for client in clients:
        client.stream.close()
    return answered / elapsed, spent_s / answered


def compare(rounds: int, seconds: float) -> None:
    bare, ours = [], []
    for _ in range(rounds):
        with echo() as (url, pid):
            bare.append(throughput(url, pid, seconds))
        with complete(STATIONS) as server:
            ours.append(throughput(server.ocpp, server.process.pid, seconds))
    for who, runs in (("bare echo", bare), ("complete server", ours)):
        rate, spent_s = (statistics.median(run[column] for run in runs) for column in (0, 1))
        print(
            f"{who:19} {rate:8.0f} MeterValues/s from {STATIONS} stations, {spent_s * 1e6:.0f} µs of its time for each"
        )
    rates = statistics.median(mine[0] / plain[0] for mine, plain in zip(ours, bare, strict=True))
    times = statistics.median(plain[1] / mine[1] for mine, plain in zip(ours, bare, strict=True))
    print(f"ratio               {rates:8.0%} by the clock (at least 50 %), {times:.0%} by processor time")


# A crowd


def crowd() -> None:
    """All of them charge, each with what is its share; nothing is measured before they are settled."""
    with complete(CROWD) as server:
        before_kb = server.memory_kb()
        selector = selectors.DefaultSelector()
        clients: list[Client] = []

        def attend(seconds: float) -> None:
            end = time.monotonic() + seconds
            while True:
                for key, _ in selector.select(0.005):
                    key.data.take()
                if time.monotonic() >= end:
                    break

        for number in range(CROWD):
            client = Client(server.ocpp, name(number))
            selector.register(client.stream, selectors.EVENT_READ, client)
            client.send("BootNotification", '{"chargePointVendor":"Acme","chargePointModel":"Post"}')
            start = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": now()}
            client.send("StartTransaction", json.dumps(start))
            clients.append(client)
            attend(0)
        attend(SETTLE_S)
        began, spent_s, sent = time.monotonic(), cpu_s(server.process.pid), 0
        while (elapsed := time.monotonic() - began) < MEASURED_S:
            attend(0.01)
            while sent < elapsed * CROWD / PERIOD_S:
                clients[sent % CROWD].send("MeterValues", readings(now()))
                sent += 1
        share = (cpu_s(server.process.pid) - spent_s) / MEASURED_S
        per_station_kb = (server.memory_kb() - before_kb) / CROWD
        ticks = re.findall(r'llm_tick_seconds\{quantile="([\d.]+)"\} ([\d.]+)', server.metrics())
        print(f"memory per station  {per_station_kb:8.0f} KiB, with {CROWD} connected and charging")
        print(f"share of a core     {share:8.0%}, {CROWD} stations reporting every {PERIOD_S:g} s")
        for quantile, value in ticks:
            most = "  (at most 200 ms)" if quantile == "0.99" else ""
            print(f"tick p{float(quantile) * 100:<14g} {float(value) * 1000:8.0f} ms{most}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--only", choices=("throughput", "crowd"))
    arguments = parser.parse_args()
    if arguments.only != "crowd":
        compare(1 if arguments.quick else 3, 3 if arguments.quick else 8)
    if arguments.only != "throughput":
        crowd()


if __name__ == "__main__":
    main()
