"""The parameters behind the `?` of an address, read as exactly as a body: every fault is named, none is ignored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from llm_adapters.web.api.exact import Wrong
from llm_core import Fault

Word = TypeVar("Word", bound=StrEnum)
LONGEST = 200


class Query:
    """Parameters that are read one by one; `close` raises `Wrong` when any of them made no sense."""

    def __init__(self, given: Mapping[str, str], known: Iterable[str]) -> None:
        names = set(known)
        self._given = given
        self._faults = [Fault(f"/{name}", "is not a parameter of this address") for name in given if name not in names]

    def text(self, name: str) -> str:
        """The text, empty when it is left out."""
        text = self._given.get(name, "")
        if len(text) > LONGEST:
            self._faults.append(Fault(f"/{name}", f"has more than {LONGEST} characters"))
        return text

    def whole(self, name: str, usual: int, least: int, most: int) -> int:
        text = self._given.get(name)
        if text is None:
            return usual
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else least - 1
        if not least <= number <= most:
            self._faults.append(Fault(f"/{name}", f"must be a whole number between {least} and {most}"))
            return usual
        return number

    def word(self, name: str, *words: str) -> str:
        """One of these words; the first when it is left out."""
        text = self._given.get(name, words[0])
        if text not in words:
            self._faults.append(Fault(f"/{name}", f"must be one of {', '.join(words)}"))
            return words[0]
        return text

    def member(self, name: str, kind: type[Word]) -> Word | None:
        """One of the words of an enum; None when it is left out."""
        text = self._given.get(name)
        if text is None:
            return None
        if text not in list(kind):
            self._faults.append(Fault(f"/{name}", f"must be one of {', '.join(kind)}"))
            return None
        return kind(text)

    def refuse(self, name: str, text: str) -> None:
        """What the caller finds wrong with a parameter."""
        self._faults.append(Fault(f"/{name}", text))

    def has(self, name: str) -> bool:
        return name in self._given

    def close(self) -> None:
        if self._faults:
            raise Wrong(*self._faults)
