"""The commissioning test of a station, as values: what is tried, what was found, and how far it is."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import attrs


class Trial(StrEnum):
    """What is tried, in this order."""

    CONFIGURATION = "configuration"  # it tells what it can do
    AMPS = "amps"  # it takes a limit in amps
    WATTS = "watts"
    ZERO = "zero"  # it takes a limit of 0 A
    DECIMALS = "decimals"  # it keeps tenths of an amp
    SECOND_PERIOD = "second_period"  # it takes a limit that lowers itself later
    STACKING = "stacking"  # it keeps a live limit above the permanent one
    COMPOSITE = "composite"  # it tells which limit it would follow
    CLEARING = "clearing"  # it lets a limit go when asked to
    OBEYS = "obeys"  # a car keeps to a lower limit
    PHASES = "phases"  # on which phases the car draws
    FALLS_BACK = "falls_back"  # it lowers its limit by itself when the link is cut
    KEEPS_PROFILES = "keeps_profiles"  # its limits outlive a restart


class Finding(StrEnum):
    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"  # it was tried, and what came back tells nothing
    SKIPPED = "skipped"  # it was not tried


@attrs.frozen
class Tried:
    """One trial and what came of it; `detail` is what was seen, in the station's words and numbers."""

    trial: Trial
    finding: Finding
    detail: str = ""


class Progress(StrEnum):
    RUNNING = "running"
    DONE = "done"
    BROKEN_OFF = "broken_off"


@attrs.frozen
class Commission:
    """The last commissioning test of a station, and which model and firmware it tells about."""

    station_id: str
    connector: int
    by: str
    at: datetime
    progress: Progress
    trying: Trial | None = None
    tried: tuple[Tried, ...] = ()
    model: str = ""
    why: str = ""  # it was broken off

    def found(self, trial: Trial) -> Finding:
        """What came of a trial; one that has not been made was skipped."""
        return next((tried.finding for tried in self.tried if tried.trial is trial), Finding.SKIPPED)


@attrs.frozen
class CommissionWish:
    """What a person asks for: the tests that disturb a station are made only where that is said."""

    connector: int = 1
    link_cut: bool = False  # needs a car that charges, and the time of a lease
    reboot: bool = False


@attrs.frozen
class CommissionTold:
    """How far a commissioning test is: everything that was tried up to now."""

    station_id: str
    connector: int
    by: str
    progress: Progress
    trying: Trial | None = None
    tried: tuple[Tried, ...] = ()
    why: str = ""
