"""What stations and meters said or showed, in words for people: short English facts as texts to translate.

Adapters tell what they saw in short plain sentences with values in them. Here each stands once more with places for
the values, so that it is recognised and said in another language; one that nobody knows, such as a station's own
words, stays as it is. A test holds this list against everything that the commissioning test can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from babel.numbers import format_decimal

from llm_adapters.web.faults import N_, pattern_of
from llm_adapters.web.words import Words

OF_TRIALS = (
    N_("the connector is in use"),
    N_("the connector is in use, or holds no limit yet"),
    N_("it tells none of its settings"),
    N_("no answer"),
    N_("it takes watts"),
    N_("it takes no limit"),
    N_("it refuses half an amp with 0 A"),
    N_("accepted"),
    N_("refused"),
    N_("not supported"),
    N_("0.5 A became %(amps)s A"),
    N_("%(levels)s levels, room for %(room)s limits"),
    N_("too few"),
    N_("it took no limit to ask for"),
    N_("it tells no limit"),
    N_("told %(value)s of %(given)s"),
    N_("no car charges"),
    N_("the car draws %(amps)s A, too little to tell"),
    N_("the car draws nothing"),
    N_("told %(limit)s A, from %(before)s to %(after)s A"),
    N_("not asked for"),
    N_("it sent no reading"),
    N_("from %(before)s to %(after)s A in %(seconds)s s alone"),
    N_("it does not restart: %(answer)s"),
    N_("control wrote its limit before it could be asked"),
    N_("%(value)s A after its restart"),
    N_("%(value)s W after its restart"),
    N_("the controller or the link to the station ended"),
    N_("the station is gone"),
    N_("somebody came to charge"),
    N_("the station did not come back after its link was cut"),
    N_("the station did not come back after its restart"),
)
OF_METERS = (
    N_("no connection"),
    N_("the connection was lost"),
    N_("no reading came"),
    N_("registers %(first)s to %(last)s are refused with exception %(code)s"),
    N_("%(n)s registers came instead of %(wanted)s"),
)
OF_MAIL = (
    N_("the mail server does not accept the user name and password"),
    N_("the mail server did not take the message: %(answer)s"),
)
SETTINGS = {
    "units": N_("units %(value)s"),
    "levels": N_("levels %(value)s"),
    "periods": N_("periods %(value)s"),
    "profiles": N_("profiles %(value)s"),
}
ANSWERS = {
    "Accepted": N_("accepted"),
    "Rejected": N_("refused"),
    "NotSupported": N_("not supported"),
}
"""The answers of OCPP 1.6 that people read most; others stay as the station gave them."""


def told_plainly(text: str, words: Words) -> str:
    """What was told, in the reader's language, its numbers written as readers of that language do."""
    if text in ANSWERS:
        return words(ANSWERS[text])
    stacking = re.fullmatch(r"levels (\S+), profiles (.+)", text)
    if stacking is not None:
        levels, room = stacking.groups()
        return words(N_("%(levels)s levels, room for %(room)s limits"), levels=levels, room=told_plainly(room, words))
    if settings := [*_settings(text)]:
        return ", ".join(words(SETTINGS[name], value=value) for name, value in settings)
    for template, pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found is not None:
            values = {name: _local(told_plainly(value, words), words) for name, value in found.groupdict().items()}
            return words(template, **values)
    return text


def _settings(text: str) -> Iterable[tuple[str, str]]:
    """The settings that a station told, as `name value, name value`; nothing where it is anything else."""
    parts = [part.partition(" ") for part in text.split(", ")]
    if all(name in SETTINGS and value for name, _, value in parts):
        return [(name, value) for name, _, value in parts]
    return []


def _local(value: str, words: Words) -> str:
    return format_decimal(Decimal(value), locale=words.language) if re.fullmatch(r"-?\d+\.\d+", value) else value


_PATTERNS = tuple((template, pattern_of(template)) for template in (*OF_TRIALS, *OF_METERS, *OF_MAIL))
