"""`llm-app replay`: runs `step` again over a journal, and tells which limits were sent, why, and whether it agrees.

Same state, same event, same instant, same outcome: where the state that replaying leads to is not the one that the
next snapshot holds, either the program is another one or something in it depends on what it should not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any, assert_never

import attrs

from llm_adapters.files.journal import PRESENT, PREVIOUS, Entry, Happened, JournalError, Snapshot, Torn, read
from llm_app.faults import Failure, WrongInput
from llm_core import ClearAlarm, ClearLimit, Effect, Purpose, RaiseAlarm, SetLimit, State, Step, StopRemotely, step

MOST_DIFFERENCES = 5  # named; the first is the one to look at

# Running again


@attrs.frozen
class Began:
    """A run of the program starts here, or the journal does: what came before does not lead here."""

    snapshot: Snapshot


@attrs.frozen
class Compared:
    """A later snapshot of the same run: `missing` events were not journalled, or the state is as told."""

    snapshot: Snapshot
    missing: int
    differences: tuple[str, ...]


@attrs.frozen
class Replayed:
    """An event that was run again, and what came of it."""

    happened: Happened
    outcome: Step


@attrs.frozen
class Broken:
    """An event at which the core breaks off."""

    happened: Happened
    error: str


Outcome = Began | Compared | Replayed | Broken | Torn


def rerun(entries: Iterable[Entry]) -> Iterator[tuple[Entry, Outcome]]:
    """What each entry leads to. Raises `JournalError` where a snapshot lies before what is already known."""
    state, run, number = State(), "", 0
    for entry in entries:
        match entry.what:
            case Snapshot() as snapshot:
                if snapshot.run != run:
                    yield entry, Began(snapshot)
                elif snapshot.number < number:
                    raise JournalError(entry.path, entry.line, f"goes back to event {snapshot.number} of its run")
                else:
                    missing = snapshot.number - number
                    yield entry, Compared(snapshot, missing, () if missing else differences(state, snapshot.state))
                state, run, number = snapshot.state, snapshot.run, snapshot.number
            case Happened() as happened:
                number += 1
                try:
                    outcome = step(state, happened.event, happened.now)
                except Exception as error:  # whatever it is, it is what somebody looks for
                    yield entry, Broken(happened, f"{type(error).__name__}: {error}")
                    continue
                yield entry, Replayed(happened, outcome)
                state = _went_on_with(state, outcome, undone=happened.undone)
            case Torn() as torn:
                yield entry, torn
            case _:
                assert_never(entry.what)


def _went_on_with(before: State, outcome: Step, *, undone: bool) -> State:
    """As the controller does: a step that never happened has used up its transaction number all the same."""
    if undone:
        return attrs.evolve(before, next_transaction_id=outcome.state.next_transaction_id)
    return outcome.state


def differences(ours: Any, theirs: Any, place: str = "state") -> tuple[str, ...]:
    """Where two values differ, with both values: the first place within each part of them; empty for equal ones."""
    if ours == theirs:
        return ()
    if attrs.has(type(ours)) and type(ours) is type(theirs):
        names = [field.name for field in attrs.fields(type(ours))]
        parts = [(getattr(ours, name), getattr(theirs, name), f"{place}.{name}") for name in names]
    elif isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        keys = [*ours, *(key for key in theirs if key not in ours)]
        parts = [(ours.get(key), theirs.get(key), f"{place}[{key!r}]") for key in keys]
    else:
        return (f"{place} is {_short(ours)}, recorded is {_short(theirs)}",)
    return tuple(islice((found for part in parts for found in differences(*part)[:1]), MOST_DIFFERENCES))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


# Telling


class Kind(StrEnum):
    """What a finding tells."""

    STARTED = "started"
    LIMIT = "limit"
    CLEARED = "cleared"  # the live limits of a connector are to be removed; the floor stays
    STOP = "stop"  # the station is asked to end a transaction
    ALARM = "alarm"
    SETTLED = "settled"  # an alarm went
    UNDONE = "undone"  # the disk failed: nothing of this step was sent
    FAILED = "failed"  # the core breaks off here
    MISSING = "missing"  # events that were not journalled
    SAME = "same"  # replaying leads to the very state of a snapshot
    DIFFERENT = "different"
    TORN = "torn"  # the last line ends in the middle
    END = "end"


@attrs.frozen
class Finding:
    """One thing that replaying showed: in words, and as `facts` for a script. `at` is UTC."""

    kind: Kind
    at: datetime | None
    journal: str
    line: int
    text: str
    facts: Mapping[str, Any] = attrs.field(factory=dict)


def replay(journal: Path, until: datetime | None = None) -> Iterator[Finding]:
    """What replaying shows, while it goes on, up to the instant `until`; at last an `END` with the numbers.

    `journal` is a file, or a folder with the present file and the one before it. The file before is compared with the
    beginning of the present one beside it. Raises `WrongInput` with the line for what is no journal.
    """
    counts: Counter[str] = Counter()
    entry: Entry | None = None
    try:
        for entry, outcome in rerun(takewhile(lambda entry: not _is_after(entry, until), _entries(journal))):
            counts["events"] += isinstance(outcome, Replayed | Broken)
            for finding in _findings(entry, outcome):
                counts[finding.kind] += 1
                yield finding
    except JournalError as error:
        raise WrongInput(str(error)) from error
    except OSError as error:
        raise WrongInput(f"cannot read {journal}: {error.strerror}") from error
    yield _end(counts, entry)


def _end(counts: Counter[str], last: Entry | None) -> Finding:
    agrees = None if not counts[Kind.SAME] + counts[Kind.DIFFERENT] else not counts[Kind.DIFFERENT]
    verdict = {
        None: "there is no later snapshot to compare with",
        True: "the outcome is the recorded one",
        False: "the outcome is not the recorded one",
    }[agrees]
    facts = {"events": counts["events"], "limits": counts[Kind.LIMIT], "agrees": agrees}
    text = f"{counts['events']} events, {counts[Kind.LIMIT]} limits; {verdict}"
    if last is None:
        return Finding(Kind.END, None, "", 0, text, facts)
    return Finding(Kind.END, _at(last), last.path.name, last.line, text, facts)


def lines_of(findings: Iterable[Finding], *, as_json: bool) -> Iterator[str]:
    """The findings for a person, line by line as they come, or as one JSON document for a script.

    Raises `Failure` after the last line when the outcome was not the recorded one.
    """
    agrees = True
    told: list[dict[str, Any]] = []
    for finding in findings:
        agrees &= finding.kind is not Kind.DIFFERENT
        if as_json:
            told.append(_for_a_script(finding))
        else:
            yield f"{_stamp(finding.at):24} {finding.kind:9} {finding.text}"
    if as_json:
        yield json.dumps({"findings": told}, indent=1)
    if not agrees:
        raise Failure("replaying leads to another state than the recorded one")


def instant(text: str) -> datetime:
    """The instant that `--until` names: ISO 8601, UTC unless it says otherwise. Raises `WrongInput`."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongInput(f"--until: “{text}” is no instant; write it as 2026-01-31T14:05:00") from error
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _entries(journal: Path) -> Iterator[Entry]:
    present, previous = journal / PRESENT, journal / PREVIOUS
    if journal.is_dir():
        found = [path for path in (previous, present) if path.exists()]
        if not found:
            raise WrongInput(f"there is no journal in {journal}")
        yield from chain.from_iterable(map(read, found))
        return
    yield from read(journal)
    following = journal.with_name(PRESENT)
    if journal.name == PREVIOUS and following.exists():
        yield from islice(read(following), 1)


def _at(entry: Entry) -> datetime | None:
    return None if isinstance(entry.what, Torn) else entry.what.now.utc


def _is_after(entry: Entry, until: datetime | None) -> bool:
    at = _at(entry)
    return until is not None and at is not None and at > until


def _findings(entry: Entry, outcome: Outcome) -> Iterator[Finding]:
    def found(kind: Kind, text: str, **facts: Any) -> Finding:
        return Finding(kind, _at(entry), entry.path.name, entry.line, text, facts)

    match outcome:
        case Began(snapshot):
            yield found(Kind.STARTED, f"version {snapshot.program}", program=snapshot.program, run=snapshot.run)
        case Compared(missing=missing) if missing:
            yield found(Kind.MISSING, f"{missing} events were not journalled", events=missing)
        case Compared(differences=()):
            yield found(Kind.SAME, "the state is the recorded one")
        case Compared(differences=places):
            yield found(Kind.DIFFERENT, "; ".join(places), places=list(places))
        case Replayed(happened, after):
            if happened.undone:
                name = type(happened.event).__name__
                yield found(Kind.UNDONE, f"{name}: the disk failed, nothing of it was sent", event=name)
                return
            for effect in after.effects:
                told = _told(effect, after.state)
                if told is not None:
                    kind, text, facts = told
                    yield found(kind, text, **facts)
        case Broken(happened, error):
            name = type(happened.event).__name__
            yield found(Kind.FAILED, f"{name}: {error}", event=name, error=error)
        case Torn():
            yield found(Kind.TORN, f"line {entry.line} of {entry.path.name} ends in the middle and is left out")
        case _:
            assert_never(outcome)


def _told(effect: Effect, state: State) -> tuple[Kind, str, dict[str, Any]] | None:
    """What an effect was for the outside; None for what concerns the disk and waiting requests."""
    match effect:
        case SetLimit():
            return _limit(effect, state)
        case ClearLimit(station_id=station, connector=connector):
            return Kind.CLEARED, f"{station}/{connector}", {"station": station, "connector": connector}
        case StopRemotely(station_id=station, transaction_id=transaction_id):
            facts = {"station": station, "transaction_id": transaction_id}
            return Kind.STOP, f"{station}, transaction {transaction_id}", facts
        case RaiseAlarm(alarm) | ClearAlarm(alarm):
            kind = Kind.ALARM if isinstance(effect, RaiseAlarm) else Kind.SETTLED
            text = f"{alarm.code.value} {alarm.subject}".strip()
            return kind, text, {"code": alarm.code.value, "subject": alarm.subject}
        case _:
            return None


def _limit(sent: SetLimit, state: State) -> tuple[Kind, str, dict[str, Any]]:
    """A limit with its reason: that of the grant it carries out; a floor has none, it follows from the settings."""
    connector = state.connectors.get((sent.station_id, sent.connector))
    grant = connector.grant if connector is not None and sent.purpose is not Purpose.FLOOR else None
    binding = grant.limited_by if grant is not None else None
    lease_s = None if sent.lease_ms is None else sent.lease_ms / 1000
    text = f"{sent.station_id}/{sent.connector} {sent.limit_ma / 1000:g} A ({sent.purpose.value}"
    text += f", {sent.then_ma / 1000:g} A after {lease_s:g} s)" if lease_s is not None else ")"
    if grant is not None:
        text += f" {grant.reason.value}" + (f" at {binding.node} {binding.phase}" if binding is not None else "")
    return (
        Kind.LIMIT,
        text,
        {
            "station": sent.station_id,
            "connector": sent.connector,
            "purpose": sent.purpose.value,
            "limit_a": sent.limit_ma / 1000,
            "then_a": sent.then_ma / 1000,
            "lease_s": lease_s,
            "reason": grant.reason.value if grant is not None else None,
            "limited_by": {"node": binding.node, "phase": binding.phase.value} if binding is not None else None,
        },
    )


def _for_a_script(finding: Finding) -> dict[str, Any]:
    stamp = _stamp(finding.at) or None
    head = {"kind": finding.kind.value, "at": stamp, "journal": finding.journal, "line": finding.line}
    return {**head, **finding.facts, "text": finding.text}


def _stamp(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at is not None else ""
