"""The local authorisation list of a station, as values: which badges it opens for while nobody can be asked."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen
class ListedBadge:
    """A badge on a list, as the station will see it presented; `until` None: it does not run out."""

    id_tag: str
    until: datetime | None = None


@attrs.frozen
class LocalList:
    """What lies in a station: its version there and a digest of what was sent. `refused`: why it holds none.

    `held` of `wanted` badges lie there, the others do not fit. A refusal counts for the firmware that made it.
    """

    station_id: str
    version: int = 0
    digest: str = ""
    held: int = 0
    wanted: int = 0
    refused: str = ""
    firmware: str = ""


@attrs.frozen
class LocalListTold:
    """What became of the list of a station."""

    local_list: LocalList
