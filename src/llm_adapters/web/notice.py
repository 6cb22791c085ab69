"""What needs attention as a letter, in the language of the site: for people who do not have the page open."""

from __future__ import annotations

from datetime import datetime

from llm_adapters.web.words import Words
from llm_core import State


def attention_notice(state: State, utc: datetime) -> tuple[str, str]:
    """The subject and the text of a letter about all alarms, the oldest first; about none, that all is well again."""
    words = Words(state.site.system.language, state.site.system.time_zone)
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
