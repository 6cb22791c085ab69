"""What every page and every API route is given to work with."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from llm_core import Accounts, Archive, Clock, Inbox


@attrs.frozen
class Desk:
    """The one value that routes get: where facts go, what is known, who may come in, and a few fixed facts.

    `station_url` is what an installer types into a station. `allowed_hosts` are the names and addresses this
    controller answers to, without a port. `healthy` tells why the controller is not (None: it is).
    """

    inbox: Inbox
    accounts: Accounts
    archive: Archive
    clock: Clock
    station_url: str
    version: str
    allowed_hosts: frozenset[str]
    healthy: Callable[[], str | None]
