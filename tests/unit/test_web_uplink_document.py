"""The operator in a configuration file: without secrets, and never at odds with the access rule."""

from __future__ import annotations

import json

import pytest

from llm_adapters.web.api.configuration import Configuration, read_configuration, write_configuration
from llm_adapters.web.api.exact import Wrong, load
from llm_adapters.web.api.uplink import read_uplink
from llm_core import AccessRule, CpoServer, OfflinePolicy, Site, Uplink, UplinkStation, check

UPLINK = Uplink(
    enabled=True,
    url="wss://cpo.example/ocpp",
    offline=OfflinePolicy.LOCAL,
    ca="-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----",
    servers=(CpoServer("Mine", "ws://cpo"),),
    stations=(UplinkStation("ST1", "NL-1"), UplinkStation("ST2", "NL-2", "ws://other")),
)
WITH = Configuration.of(Site(access=AccessRule.CPO, uplink=UPLINK))
WITHOUT = Configuration.of(Site(access=AccessRule.FREE))


def read(document: object, base: Configuration) -> Configuration:
    return read_configuration(load(json.dumps(document).encode()), base)


def test_what_is_written_is_read_again_and_holds_no_secret() -> None:
    document = write_configuration(WITH)
    assert read(document, WITHOUT).site == WITH.site
    assert "password" not in json.dumps(document)


def test_naming_one_of_the_two_sets_the_other() -> None:
    uplink = write_configuration(WITH)["uplink"]
    assert read({"uplink": uplink}, WITHOUT).site.access is AccessRule.CPO
    assert read({"access": {"rule": "badge"}}, WITH).site.uplink.enabled is False
    assert read({"uplink": {}}, WITH).site.access is AccessRule.BADGE
    for document, base in (({"uplink": uplink}, WITHOUT), ({"access": {"rule": "cpo"}}, WITHOUT), ({}, WITH)):
        check(read(document, base).site)


def test_secrets_are_kept_where_nothing_is_said_and_removed_where_nothing_is_given() -> None:
    body = {
        "stations": {
            "A": {"ocpp_id": "1", "password": "x"},
            "B": {"ocpp_id": "2", "password": ""},
            "C": {"ocpp_id": "3"},
        }
    }
    _, secrets = read_uplink(body)
    assert secrets == {("A", "password"): "x", ("B", "password"): None}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"ca": "no certificate"}, "/ca"),
        ({"offline": "perhaps"}, "/offline"),
        ({"servers": [{"name": "x"}]}, "/servers/0/url"),
        ({"stations": {"A": {"ocpp_id": "1", "certificate_key": "nothing"}}}, "/stations/A/certificate_key"),
        ({"stations": {"A": {}}}, "/stations/A/ocpp_id"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(body: dict[str, object], pointer: str) -> None:
    with pytest.raises(Wrong) as refused:
        read_uplink(body)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
