"""The languages of the pages: which one a reader gets, and its catalogue, compiled when it is first asked for."""

from __future__ import annotations

from functools import cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path

from babel.core import negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

LANGUAGES = {"en": "English", "nl": "Nederlands", "de": "Deutsch", "fr": "Français"}
SOURCE_LANGUAGE = "en"
CATALOGUES = Path(__file__).parent / "locale"


@cache
def catalogue(language: str) -> NullTranslations:
    """The translations into `language`; the source language translates to itself."""
    if language == SOURCE_LANGUAGE:
        return NullTranslations()
    compiled = BytesIO()
    with (CATALOGUES / f"{language}.po").open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return Translations(compiled)


def choose_language(chosen: str | None, accepted: str, of_site: str) -> str:
    """What the reader chose, else the best of the browser's `Accept-Language`, else the site's language."""
    if chosen in LANGUAGES:
        return chosen
    wanted = negotiate_locale(_by_preference(accepted), list(LANGUAGES), sep="-")
    if wanted is not None:
        return wanted
    return of_site if of_site in LANGUAGES else SOURCE_LANGUAGE


def _by_preference(accepted: str) -> list[str]:
    weighed = []
    for part in accepted.split(",")[:20]:
        tag, _, weight = part.strip().partition(";q=")
        try:
            weighed.append((-float(weight or 1), tag))
        except ValueError:
            continue
    return [tag for _, tag in sorted(weighed, key=lambda pair: pair[0])]
