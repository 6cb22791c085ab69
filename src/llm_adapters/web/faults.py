"""What the core and the file readers refuse, in words for people: their English sentences as texts to translate.

The core says each fault in one plain sentence, with its values already in it. Here each sentence stands once more with
places for the values, so that it is recognised and said in another language; one that nobody knows stays as it is.
A test holds this list against every fault that the core can tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable


def N_(text: str) -> str:
    """Mark a text for the translators; it is translated where it is said."""
    return text


OF_THE_CORE = (
    N_("stands twice in this change"),
    N_("there is no such badge"),
    N_("must have 1 to %(n)s characters, colons and blanks aside"),
    N_("names no station"),
    N_("there is no station “%(name)s”"),
    N_("6 A ≤ minimum ≤ maximum must hold"),
    N_("a meter that is read needs no assumed load"),
    N_("another meter speaks differently on the same line"),
    N_("is below the minimum of one connector"),
    N_("less than 6 A would never let a one-phase car charge"),
    N_("model and host must be given"),
    N_("must be 0 or lie between the minimum and the maximum"),
    N_("must be 0, 1, 2 or 3"),
    N_("must be 1 or 2"),
    N_("must be 1 or 3"),
    N_("must be at least 1"),
    N_("must be an address like ftp://host/folder or https://host/file"),
    N_("is missing"),
    N_("must have %(least)s to %(most)s characters"),
    N_("must be given"),
    N_("must name somebody"),
    N_("must be meter or manager"),
    N_("must be one of %(list)s"),
    N_("must have 1 to 64 characters and be unique"),
    N_("must lie between 0 and %(most)s kWh"),
    N_("must lie between 1 minute and a day"),
    N_("must lie between %(least)s and %(most)s seconds"),
    N_("%(phase)s must lie between 0 and %(most)s A"),
    N_("must lie between %(least)s and %(most)s A"),
    N_("must lie between %(least)s and %(most)s"),
    N_("must name one phase of the site, or all three in their order"),
    N_("must name the serial line, like /dev/ttyUSB0"),
    N_("must not be negative"),
    N_("must say what the other consumers draw at the most"),
    N_("primary must lie between 75 and 6000 A, secondary must be 1 or 5 A"),
    N_("the clusters hang on each other in a circle"),
    N_("there is no cluster “%(name)s”"),
    N_(
        "what stations may give by themselves adds up to %(total)s A on %(phase)s of “%(node)s”, more than the"
        " %(limit)s A that are safe there without control"
    ),
    N_("without a neutral (3 × 230 V) a one-phase car loads two lines: not supported"),
    N_("%(phase)s is above the derated current"),
    N_("%(phase)s is above the installation protection"),
    N_("“%(name)s” is empty, reserved or used twice"),
    N_("“%(name)s” is no node, or has two meters"),
    N_("there is no such limit, or it has ended"),
    N_("there is no such session, or it has ended"),
    N_("there are %(n)s limits already"),
    N_("“%(name)s” is limited from outside (%(reason)s) and must stay"),
    N_("there is no node “%(name)s”"),
    N_("give either amps per phase or kilowatts"),
    N_("must not be negative, nor more than any supply carries"),
    N_("nobody measures the building here, so only “stations” can be limited"),
    N_("lies before the start"),
    N_("lies in the past"),
    N_("is cpo exactly while the connection to the operator is switched on"),
    N_("must be an address like wss://cpo.example/ocpp"),
    N_("must have 1 to %(n)s characters"),
    N_("must be without user, password, ? and #"),
    N_("“%(name)s” is given to two stations"),
)
OF_FILES = (
    N_("the file is larger than 5 MiB"),
    N_("the file is in UTF-16; save it as “CSV UTF-8”"),
    N_("a letter is not in UTF-8 (the file may be Latin-1 or Windows-1252); save it as “CSV UTF-8”"),
    N_("the file has more than %(n)s lines"),
    N_("has %(n)s fields, the header names %(named)s"),
    N_("a quotation mark is opened and never closed, or closed too early"),
    N_("the file is empty"),
    N_("the header must be %(header)s"),
    N_("“%(text)s” must have 1 to %(n)s characters"),
    N_("“%(text)s” must be STANDARD or SUPER"),
    N_("“%(text)s” is no date like 30.01.2030"),
    N_("“%(text)s” is no e-mail address"),
    N_("“%(text)s” stands in line %(line)s already"),
    N_("has more than %(n)s characters"),
    N_("holds a character that cannot be shown"),
    N_("and %(n)s more"),
)
IN_LINE = N_("line %(line)s: %(text)s")
IN_COLUMN = N_("line %(line)s, %(column)s: %(text)s")


def said(text: str, translate: Callable[[str], str]) -> str:
    """A fault's sentence, translated around its values."""
    placed = re.fullmatch(r"line (\d+): (?:(badgeId|type|comment|expirationDate|email) )?(.*)", text, re.DOTALL)
    if placed is not None:
        line, column, rest = placed.groups()
        template = IN_LINE if column is None else IN_COLUMN
        return translate(template) % {"line": line, "column": column, "text": said(rest, translate)}
    for template, pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found is not None:
            return translate(template) % found.groupdict() if found.groupdict() else translate(template)
    return translate(text) if text else ""


def pattern_of(template: str) -> re.Pattern[str]:
    """What recognises a text that was made of this one, and its values."""
    parts = re.split(r"%\((\w+)\)s", template)
    return re.compile(
        "".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>.+?)" for i, part in enumerate(parts)), re.DOTALL
    )


_PATTERNS = tuple((template, pattern_of(template)) for template in (*OF_THE_CORE, *OF_FILES))
