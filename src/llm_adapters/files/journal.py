"""The journal: what the core was told, line by line, so that a problem in the field can be run again at a desk.

Theory of operation
-------------------
`step` is a function of state, event and instant. So one snapshot of the state and every event after it, each with its
`Now`, are the whole truth. Every line is a JSON document:

    {"journal":1,"program":"0.1.0","run":"…","number":17,"now":[…],"state":{…}}   a snapshot
    {"now":[monotonic ms, UTC, offset s],"event":{"is":"Tick"}}                    an event
    {"undone":true}                  the disk refused what the event before it promised: that step never happened

`run` names a start of the program, `number` counts the events of that run before the snapshot. A snapshot whose number
was reached by replaying is a check; one further ahead tells how many events are missing.

There are two files, the present one and the one before it, each of at most 8 MiB and each beginning with a
snapshot, so that either can be replayed alone. Lines are appended in batches and every batch carries the state that it
starts from: it is written behind what is there when it continues it, else behind a snapshot of its own (the program
has started, a write has failed), in the other file when there is no room. A failed write needs no repair for that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from llm_adapters.files.values import UnreadableError, decoded, encoded, parsed, printed
from llm_core import LONGEST_TAG, Event, Now, State, normalise

PRESENT = "journal.jsonl"
PREVIOUS = "journal.previous.jsonl"
FORMAT = 1
MOST_BYTES = 8 * 1024 * 1024
UNDONE = '{"undone":true}\n'


@attrs.frozen
class Snapshot:
    """All that was known when `number` events of this run had been recorded."""

    program: str
    run: str
    number: int
    now: Now
    state: State


@attrs.frozen
class Happened:
    """An event as it was given to `step`; `undone`: the disk failed and the outcome was dropped."""

    event: Event
    now: Now
    undone: bool = False


@attrs.frozen
class Torn:
    """The last line of a file ends in the middle, as after a power cut."""


@attrs.frozen
class Entry:
    """What stands in one line of a file."""

    path: Path
    line: int
    what: Snapshot | Happened | Torn


@attrs.frozen
class Batch:
    """Lines of events in their order, `count` of them events, and the snapshot that they start from."""

    start: Snapshot
    lines: tuple[str, ...]
    count: int


class JournalError(Exception):
    """A file that is not a journal, or is damaged: which line, and what is wrong with it."""

    def __init__(self, path: Path, line: int, text: str) -> None:
        super().__init__(f"{path}: line {line}: {text}")
        self.line = line


def event_line(event: Event, now: Now) -> str:
    """The line of an event, its end included."""
    return printed({"now": encoded(now, Now), "event": encoded(event, Event)}) + "\n"


def snapshot_line(snapshot: Snapshot) -> str:
    """The line of a snapshot, its end included."""
    return printed({"journal": FORMAT, **encoded(snapshot)}) + "\n"


# Writing


class JournalFiles:
    """The two files of a folder. For one writer, in a thread of its own; raises OSError as the disk does."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._present = folder / PRESENT
        self._previous = folder / PREVIOUS
        self._reached: tuple[str, int, int] | None = None  # run, number and size after the last append that worked

    def append(self, batch: Batch) -> None:
        """Write a batch, behind a snapshot where it does not continue what lies there. Never exceeds the bound.

        Raises OverflowError for a batch that fits in no file; then, as after an OSError, it is as if it never was.
        """
        start, lines = batch.start, "".join(batch.lines).encode("ascii")
        size = self._size()
        continues = self._reached == (start.run, start.number, size)
        self._reached = None
        if not continues:
            size = self._mended(start.program)
        if not continues or size + len(lines) > self._most_bytes:
            lines = snapshot_line(start).encode("ascii") + lines
            if len(lines) > self._most_bytes:
                raise OverflowError(f"{len(lines)} bytes are more than a journal holds")
        if size + len(lines) > self._most_bytes:
            os.replace(self._present, self._previous)
            size = 0
        with open(self._present, "ab", opener=_privately) as file:
            file.write(lines)
        self._reached = (start.run, start.number + batch.count, size + len(lines))

    def _size(self) -> int:
        return self._present.stat().st_size if self._present.exists() else 0

    def _mended(self, program: str) -> int:
        """The size of the present file without a torn last line; a file that others wrote is put aside."""
        if not self._present.exists():
            return 0
        written = self._present.read_bytes()
        whole = written.rfind(b"\n") + 1
        if whole and not written[:whole].startswith(
            printed({"journal": FORMAT, "program": program})[:-1].encode("ascii")
        ):
            os.replace(self._present, self._previous)
            return 0
        os.truncate(self._present, whole)
        return whole


def _privately(path: str, flags: int) -> int:
    """Badges stand in the journal: nobody else on this machine reads it."""
    return os.open(path, flags, 0o600)


# Reading


def read(path: Path) -> Iterator[Entry]:
    """Every entry of a journal in its order, each event with what became of it.

    Raises `JournalError` at the first line that is wrong, OSError where the file cannot be read. A torn last line is
    an entry of its own.
    """
    held: Entry | None = None
    for number, line, is_last in _lines(path):
        try:
            what: Snapshot | Happened | Torn | None = _entry(line)
        except UnreadableError as error:
            if held is None or not is_last or line.endswith(b"\n"):
                raise JournalError(path, number, str(error)) from error
            what = Torn()
        if held is None and not isinstance(what, Snapshot):
            raise JournalError(path, number, "a journal begins with a snapshot")
        if what is not None:
            if held is not None:
                yield held
            held = Entry(path, number, what)
        elif held is not None and isinstance(held.what, Happened):
            held = attrs.evolve(held, what=attrs.evolve(held.what, undone=True))
        else:
            raise JournalError(path, number, "there is no event before it that could be undone")
    if held is None:
        raise JournalError(path, 1, "the file is empty")
    yield held


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Each line with its number, and whether it is the last; one that is too long comes in pieces."""
    with path.open("rb") as file:
        number, line = 1, file.readline(MOST_BYTES)
        while line:
            following = file.readline(MOST_BYTES)
            yield number, line, not following
            number, line = number + 1, following


def _entry(line: bytes) -> Snapshot | Happened | None:
    """What a line says; None for “undone”. Raises `UnreadableError`."""
    match parsed(line):
        case {"event": event, "now": now, **others} if not others:
            return Happened(decoded(event, Event), decoded(now, Now))
        case {"undone": True, **others} if not others:
            return None
        case {"journal": version, **snapshot} if version == FORMAT:
            return _snapshot(snapshot)
        case {"journal": version}:
            raise UnreadableError(f"journal format {version!r}; this program reads {FORMAT}")
        case _:
            raise UnreadableError("this is no line of a journal")


def _snapshot(data: dict[Any, Any]) -> Snapshot:
    try:
        found: Snapshot = decoded(data, Snapshot)
    except UnreadableError as error:
        raise UnreadableError(f"{error} (written by version {data.get('program')!r})") from error
    return found


# Masking


MASKED = "…"
BADGE_FIELDS = frozenset(
    {"id_tag", "badge_id", "group", "badges", "badge_rules", "badge_scan", "remove", "cpo_verdicts"}
)
PERSON_FIELDS = frozenset({"comment", "email", "said"})


def masked(lines: Iterable[str]) -> Iterator[str]:
    """The lines of one or more journals without badge ids, the people they belong to, and what follows `?` in paths.

    Every badge keeps one false id throughout, so that what comes out can be replayed with the same limits. A line
    that is none of a journal's is left out.
    """
    names: dict[str, str] = {}
    for line in lines:
        try:
            data = parsed(line)
        except UnreadableError:
            continue
        if isinstance(data, dict) and data.keys() & {"journal", "event", "undone"}:
            yield printed(_without_badges(data, names)) + "\n"


def _without_badges(data: Any, names: dict[str, str]) -> Any:
    if isinstance(data, list):
        return [_without_badges(entry, names) for entry in data]
    if not isinstance(data, dict):
        return data
    return {key: _masked_field(key, value, names) for key, value in data.items()}


def _masked_field(key: str, value: Any, names: dict[str, str]) -> Any:
    if key in BADGE_FIELDS:
        return _with_false_ids(value, names)
    if key in PERSON_FIELDS and value:
        return MASKED
    if key == "path" and isinstance(value, str):
        return value.partition("?")[0]
    return _without_badges(value, names)


def _with_false_ids(value: Any, names: dict[str, str]) -> Any:
    """A badge id, a list of them, or pairs of an id and the badge."""
    match value:
        case str():
            return _false_id(value, names)
        case [str() as id_tag, dict() as badge]:
            return [_false_id(id_tag, names), _without_badges(badge, names)]
        case list():
            return [_with_false_ids(entry, names) for entry in value]
        case _:
            return _without_badges(value, names)


def _false_id(id_tag: str, names: dict[str, str]) -> str:
    """As long as a tag that is too long was, and the same for every spelling of one badge."""
    key = normalise(id_tag)
    if not key:
        return id_tag
    name = names.setdefault(key, f"badge{len(names) + 1}")
    return name.ljust(len(id_tag)) if len(id_tag) > LONGEST_TAG else name
