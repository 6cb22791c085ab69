"""The disk of a computer whose power may go at any write: what a process wrote, as a system call tracer saw it, again.

`recorded` reads the trace. `Disk` plays it up to an instant: what was synced is there for good; what was written since
is there, or not, or in part, and in any order, as a disk with a cache of its own would have it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

TRACE = ("-f", "-ttt", "-y", "-qq", "-xx", "-s", "2000000")
CALLS = "trace=pwrite64,write,fsync,fdatasync,ftruncate,unlink,unlinkat"
SECTOR = 512

_LINE = re.compile(r"^(?:\[pid +)?(?P<pid>\d+)?\]? *(?P<at>\d+\.\d+) (?P<call>\w+)\((?P<arguments>.*)$")
_FILE = re.compile(r"^-?\d+<(?P<path>[^>]*)>")
_DATA = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@attrs.frozen
class Written:
    path: str
    at_s: float
    offset: int
    data: bytes


@attrs.frozen
class Truncated:
    path: str
    at_s: float
    size: int


@attrs.frozen
class Synced:
    """All that was written to this file before is on the disk."""

    path: str
    at_s: float


@attrs.frozen
class Removed:
    path: str
    at_s: float


Operation = Written | Truncated | Synced | Removed


def recorded(trace: Path, names: tuple[str, ...]) -> Iterator[Operation]:
    """What was done to the files of these names, in order. A call that failed did nothing."""
    for line in trace.read_text(encoding="latin-1").splitlines():
        found = _LINE.match(line)
        if found is None or " = -1 " in line:
            continue
        at_s, call, arguments = float(found["at"]), found["call"], found["arguments"]
        if call in ("unlink", "unlinkat"):
            removed = _DATA.search(arguments)
            path = bytes.fromhex(removed[1].replace("\\x", "")).decode() if removed is not None else ""
            if path.rpartition("/")[2] in names:
                yield Removed(path, at_s)
            continue
        opened = _FILE.match(_plain(arguments))
        if opened is None or opened["path"].rpartition("/")[2] not in names:
            continue
        path = opened["path"]
        match call:
            case "pwrite64":
                data = _DATA.search(arguments)
                assert data is not None, line[:200]
                offset = re.search(r", (\d+), (\d+)(?:\)| <unfinished)", arguments[data.end() :])
                assert offset is not None, line[-200:]
                yield Written(path, at_s, int(offset[2]), bytes.fromhex(data[1].replace("\\x", "")))
            case "ftruncate":
                size = re.search(r">, (\d+)", arguments)
                assert size is not None, line
                yield Truncated(path, at_s, int(size[1]))
            case "fsync" | "fdatasync":
                yield Synced(path, at_s)
            case _:
                raise AssertionError(f"a database is not written by {call}")


def _plain(arguments: str) -> str:
    """The path behind a descriptor, which `-xx` writes in hexadecimal as well."""
    head, _, rest = arguments.partition(">")
    return re.sub(r"\\x([0-9a-f]{2})", lambda byte: chr(int(byte[1], 16)), head) + ">" + rest


class Disk:
    """Files, what of them is on the disk for good, and what waits in a cache."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._kept = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
        self._waiting: list[Written | Truncated] = []

    def take(self, operation: Operation) -> None:
        name = operation.path.rpartition("/")[2]
        match operation:
            case Synced():
                for waiting in [w for w in self._waiting if w.path.endswith(f"/{name}")]:
                    self._kept[name] = _applied(self._kept.get(name, b""), waiting)
                self._waiting = [w for w in self._waiting if not w.path.endswith(f"/{name}")]
            case Removed():
                self._kept.pop(name, None)
                self._waiting = [w for w in self._waiting if not w.path.endswith(f"/{name}")]
            case _:
                self._waiting.append(operation)

    def after_a_cut(self, draw: random.Random, how: str) -> dict[str, bytes]:
        """What is found when the power is back: `how` is none, all, or some of what waited, some of it torn."""
        files = dict(self._kept)
        waiting = list(self._waiting) if how != "none" else []
        if how == "some":
            draw.shuffle(waiting)
            waiting = waiting[: draw.randrange(len(waiting) + 1)]
        for operation in waiting:
            name = operation.path.rpartition("/")[2]
            torn = how == "some" and isinstance(operation, Written) and draw.random() < 0.3
            files[name] = _applied(files.get(name, b""), _torn(operation, draw) if torn else operation)
        return files


def _torn(operation: Written | Truncated, draw: random.Random) -> Written | Truncated:
    """Some sectors of a write, from its beginning."""
    if not isinstance(operation, Written):
        return operation
    return attrs.evolve(operation, data=operation.data[: SECTOR * draw.randrange(len(operation.data) // SECTOR + 1)])


def _applied(content: bytes, operation: Written | Truncated) -> bytes:
    if isinstance(operation, Truncated):
        return content[: operation.size].ljust(operation.size, b"\0")
    padded = content.ljust(operation.offset, b"\0")
    return padded[: operation.offset] + operation.data + padded[operation.offset + len(operation.data) :]
