"""Listening sockets that a crowd of silent or slow peers cannot close to honest ones.

Theory of operation
    Every socket counts from the moment it is accepted, before TLS and before its first byte. Until somebody says
    that it is `proven` (its handshake or first request is complete), it is a guest on sufferance: after `within_s` it
    is shut, and while the house is full, the guest that has waited longest makes room for the next one. So a newcomer
    who says what he wants gets in at once, however many stand silent in the door; when all who are inside are proven,
    he is turned away.

    A guest is shut, not closed: his transport sees the end of the stream and closes by its own rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from typing import Any

import attrs

ACCEPTED_AT_ONCE = 128  # then the loop has its turn


@attrs.define(eq=False)
class _Guest:
    stream: socket.socket
    address: str
    deadline: asyncio.TimerHandle | None = None


class Crowd:
    """All sockets of one or several doors: at most `total`, and `per_address` from one address."""

    def __init__(self, total: int, per_address: int, within_s: float) -> None:
        self._total = total
        self._per_address = per_address
        self._within_s = within_s
        self._count: Counter[str] = Counter()
        self._guests: dict[int, _Guest] = {}
        self._unproven: dict[int, _Guest] = {}  # those who came first stand first

    def __len__(self) -> int:
        return len(self._guests)

    @property
    def unproven(self) -> int:
        return len(self._unproven)

    def door(self, listener: socket.socket) -> Door:
        """`listener` (listening already) as a door of this crowd; it is taken over."""
        door = Door(listener.family, listener.type, listener.proto, fileno=listener.detach())
        door.crowd = self
        door.setblocking(False)
        return door

    def prove(self, transport: asyncio.BaseTransport) -> None:
        """This peer has said what it wants: it stays for as long as it likes."""
        stream = transport.get_extra_info("socket")
        guest = self._unproven.pop(stream.fileno(), None) if stream is not None else None
        if guest is not None and guest.deadline is not None:
            guest.deadline.cancel()

    def admit(self, stream: Stream, address: str) -> bool:
        """Take in a socket just accepted, if need be in the place of one that has not said a word."""
        if self._count[address] >= self._per_address:
            self._make_room(address)
        elif len(self._guests) >= self._total:
            self._make_room(None)
        if self._count[address] >= self._per_address or len(self._guests) >= self._total:
            return False
        number = stream.fileno()
        guest = _Guest(stream, address)
        guest.deadline = asyncio.get_running_loop().call_later(self._within_s, self._shut, number)
        self._guests[number] = self._unproven[number] = guest
        self._count[address] += 1
        return True

    def left(self, number: int) -> None:
        """The socket with this number is closed."""
        self._forget(number)

    def _make_room(self, address: str | None) -> None:
        for number, guest in self._unproven.items():
            if address in (None, guest.address):
                self._shut(number)
                return

    def _shut(self, number: int) -> None:
        guest = self._forget(number)
        if guest is not None:
            with contextlib.suppress(OSError):  # it may have hung up by itself
                guest.stream.shutdown(socket.SHUT_RDWR)

    def _forget(self, number: int) -> _Guest | None:
        self._unproven.pop(number, None)
        guest = self._guests.pop(number, None)
        if guest is None:
            return None
        if guest.deadline is not None:
            guest.deadline.cancel()
        self._count[guest.address] -= 1
        if not self._count[guest.address]:
            del self._count[guest.address]
        return guest


class Stream(socket.socket):
    """An accepted socket that says when it is closed."""

    crowd: Crowd | None = None

    def close(self) -> None:
        crowd, self.crowd = self.crowd, None
        if crowd is not None:
            crowd.left(self.fileno())
        super().close()


class Door(socket.socket):
    """A listening socket that lets in whom its crowd has room for."""

    crowd: Crowd

    def accept(self) -> tuple[socket.socket, Any]:
        """The next socket that was let in; `BlockingIOError` when nobody waits, as for any socket."""
        for _ in range(ACCEPTED_AT_ONCE):
            accepted, address = super().accept()
            stream = Stream(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
            if self.crowd.admit(stream, str(address[0])):
                stream.crowd = self.crowd
                return stream, address
            stream.close()
        raise BlockingIOError
