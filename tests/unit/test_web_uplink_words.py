"""What goes wrong on the way to an operator is told in the reader's language, whatever the adapter says of it."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from pathlib import Path

import pytest

from llm_adapters.ocpp16.uplink import dialing
from llm_adapters.ocpp16.uplink.wording import in_words
from llm_adapters.web.languages import LANGUAGES
from llm_adapters.web.uplink_words import REASONS, TROUBLES, trouble_in_words
from llm_adapters.web.words import Words

UPLINK = Path(dialing.__file__).parent
OTHERS = sorted(set(LANGUAGES) - {"en"})


def said(text: str, language: str) -> str:
    return trouble_in_words(text, Words(language, "Europe/Amsterdam"))


@pytest.mark.parametrize("language", OTHERS)
def test_every_trouble_and_every_reason_is_said_in_the_readers_language(language: str) -> None:
    for template in (*TROUBLES, *REASONS):
        text = template % {"code": "403", "reason": "it was cut off"}
        told = said(text, language)
        assert told != text
        assert "it was cut off" not in told
        assert ("403" in told) == ("403" in text)


def test_every_trouble_that_the_adapter_tells_is_one_that_is_known() -> None:
    """The sentences are read from its source: those that are raised, entered or told as errors."""
    source = "".join((UPLINK / name).read_text() for name in ("dialing.py", "station.py", "delivery.py"))
    places = r"NoLink\(|error=|why = |return |refused = |fault, most = |_refuse\(queued, |UplinkState\.\w+, "
    told = re.findall(rf'(?:{places})f?"([a-z][^"]{{8,}})"', source)
    assert len(told) > 12
    for sentence in told:
        text = re.sub(r"\{code\}", "500", re.sub(r"\{(?!code)[^}]*\}", "a reason", sentence))
        assert said(text, "nl") != text, sentence
    for why in dialing._DENIED.values():
        assert said(f"{why} (HTTP 401)", "nl") != f"{why} (HTTP 401)"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "x"),
        socket.gaierror(-2, "x"),
        ConnectionResetError(104, "x"),
        OSError(errno.EHOSTUNREACH, "x"),
    ],
)
def test_why_nothing_was_reached_is_said_without_the_words_of_the_system(error: OSError) -> None:
    reason = dialing._unreached(error)
    assert reason in REASONS
    assert said(f"cannot be reached: {reason}", "de").startswith("nicht erreichbar: ")
    assert dialing._unreached(OSError(5, "Input/output error")) == "Input/output error"


@pytest.mark.parametrize("code", [9, 10, 18, 19, 20, 21, 62, 64])
def test_why_a_certificate_is_not_trusted_is_said(code: int) -> None:
    assert dialing._UNTRUSTED[code] in REASONS
    assert ssl.OPENSSL_VERSION_INFO[0] >= 1  # whose numbers these are


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("received 1001 (going away); then sent 1001 (going away)", "opgehangen (1001)"),
        ("no close frame received or sent", "afgebroken"),
        ("sent 1009 (message too big) over size limit; no close frame received", "te lange berichten (1009)"),
        (
            "sent 1002 (protocol error) reserved bits; then received 1002 (protocol error)",
            "onleesbare berichten (1002)",
        ),
        ("silent, and no answer to a ping", "geen teken van leven"),
        ("something that nobody has seen yet", "something that nobody has seen yet"),
    ],
)
def test_how_a_link_ended_is_said_to_people_who_know_no_websockets(why: str, told: str) -> None:
    assert said(f"the connection ended: {in_words(why)}", "nl") == f"de verbinding is beëindigd: {told}"
