"""What this controller writes to people who do not have its pages open: letters in the language of the site.

Each is a subject, without the name of the site, and a text.
"""

from __future__ import annotations

from datetime import date, datetime

from babel.dates import format_skeleton

from llm_adapters.web.languages import choose_language
from llm_adapters.web.words import Words
from llm_core import State


def attention_letter(state: State, utc: datetime) -> tuple[str, str]:
    """About all alarms, the oldest first; about none, that all is well again."""
    words = _words(state)
    name = state.site.system.name
    alarms = sorted(state.alarms.values(), key=lambda alarm: (alarm.since, alarm.code, alarm.subject))
    if not alarms:
        text = words("Nothing needs attention at %(site)s any more. The controller is running.", site=name)
        return words("all is well again"), f"{text}\n"
    lines = [words("At %(site)s this needs attention:", site=name), ""]
    for alarm in alarms:
        since = words("since %(time)s", time=words.since(alarm.since, utc))
        lines.append(f"- {words.alarm(state, alarm)} ({since})")
    lines += ["", words("Limits hold all the same. The page of the controller says more and leads to each of these.")]
    subject = words.many("%(n)s thing needs attention", "%(n)s things need attention", len(alarms))
    return subject, "\n".join(lines) + "\n"


def month_letter(state: State, first: date, sessions: int, energy_wh: int) -> tuple[str, str]:
    """With the file of the sessions of the month that began on `first`."""
    words = _words(state)
    month = format_skeleton("yMMMM", first, locale=words.region)
    text = words.many(
        "%(n)s session with %(energy)s kWh at %(site)s in %(month)s: it stands in the attached file.",
        "%(n)s sessions with %(energy)s kWh at %(site)s in %(month)s: they stand in the attached file.",
        sessions,
        energy=words.kwh(energy_wh),
        month=month,
        site=state.site.system.name,
    )
    return words("charging sessions, %(month)s", month=month), f"{text}\n"


def trial_letter(state: State) -> tuple[str, str]:
    """Which somebody asked for, to see whether it arrives."""
    words = _words(state)
    text = words("This is a test: letters from the load manager of %(site)s arrive here.", site=state.site.system.name)
    return words("a test"), f"{text}\n"


def has_decimal_comma(state: State) -> bool:
    """Whether the spreadsheets of those who read these letters write 13,550."""
    return _words(state).language != "en"


def _words(state: State) -> Words:
    system = state.site.system
    return Words(choose_language(None, "", system.language), system.time_zone)
