"""What goes wrong between a station and its operator, in words for people: the adapter's sentences to translate.

Each stands once more with places for what varies, so that it is recognised and said in another language; a reason in
it is recognised in the same way. What nobody knows (an operator's own words, say) stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from llm_adapters.web.words import N_

TROUBLES = (
    N_("the password is wrong or missing (HTTP %(code)s)"),
    N_("this station is not allowed (HTTP %(code)s)"),
    N_("this OCPP id is unknown (HTTP %(code)s)"),
    N_("it refuses the connection (HTTP %(code)s)"),
    N_("its certificate is not to be trusted: %(reason)s"),
    N_("no encrypted connection: %(reason)s"),
    N_("what answers there is no OCPP server: %(reason)s"),
    N_("cannot be reached: %(reason)s"),
    N_("the certificates that were entered cannot be used: %(reason)s"),
    N_("the connection ended: %(reason)s"),
    N_("it does not take the boot message: %(reason)s"),
    N_("it answers with an error: %(reason)s"),
    N_("no answer"),
    N_("the connection ended"),
    N_("the station itself is not connected"),
    N_("it does not accept this station"),
    N_("it has yet to accept this station"),
    N_("it answers a start without a number of the transaction"),
    N_("its start was refused"),
)
REASONS = (
    N_("it is made out to another name"),
    N_("nobody here knows who issued it"),
    N_("it has expired"),
    N_("it is not valid yet"),
    N_("nobody listens there"),
    N_("nobody knows that name"),
    N_("there is no way to it"),
    N_("it does not answer"),
    N_("it gives no sign of life"),
    N_("it takes nothing of what is sent"),
    N_("it was cut off"),
    N_("it hung up (%(code)s)"),
    N_("it sends messages that are too long (%(code)s)"),
    N_("what it sends cannot be read (%(code)s)"),
)


def trouble_in_words(text: str, translate: Callable[[str], str]) -> str:
    """The sentence as `translate` says it."""
    for template, pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found is not None:
            values = found.groupdict()
            if "reason" in values:
                values["reason"] = trouble_in_words(values["reason"], translate)
            return translate(template) % values if values else translate(template)
    return text


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"%\((\w+)\)s", template)
    kinds = {"code": r"\d+", "reason": ".+"}
    return re.compile(
        "".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>{kinds[part]})" for i, part in enumerate(parts)), re.S
    )


_PATTERNS = tuple((template, _pattern(template)) for template in (*TROUBLES, *REASONS))
