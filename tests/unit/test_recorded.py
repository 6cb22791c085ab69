"""Recorded sessions are read as they were written, and a wrong file is refused with the line and the reason."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from llm_adapters.files.recorded import Recorded, RecordingError, read_sessions

ZONE = ZoneInfo("Europe/Berlin")
ACN_HEAD = (
    "arrival,departure,requested_energy (kWh),delivered_energy (kWh),"
    "station_id,session_id,estimated_departure,claimed\n"
)
ACN = (
    ACN_HEAD
    + """\
2019-05-01 06:33:14-07:00,2019-05-01 11:50:55-07:00,21.84,17.666,CA-314,x,2019-05-01 11:27:14-07:00,True
2019-05-01 01:18:45-07:00,2019-05-01 15:52:36-07:00,60.0,44.069,CA-305,y,2019-05-01 09:20:45-07:00,True
"""
)
OWN_HEAD = (
    "transactionId;evcsId;evcsName;startDateTransaction;stopDateTransaction;"
    "badgeId;badgeName;energyChargedKwh;connector\n"
)
OWN = (
    OWN_HEAD
    + """\
7;ST1;Bay 1;01.07.2026 08:00;01.07.2026 09:30;a1;Müller;13,550;2
8;ST1;Bay 1;01.07.2026 10:00;;a1;Müller;1,000;1
"""
)


def written(folder: Path, text: str, *, packed: bool = False) -> Path:
    path = folder / ("sessions.csv.gz" if packed else "sessions.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(RecordingError) as caught:
        read_sessions(written(folder, text), ZONE)
    return caught.value.faults


@pytest.mark.parametrize("packed", [False, True])
def test_sessions_of_the_open_data_set_are_read_by_arrival(tmp_path: Path, packed: bool) -> None:
    first, second = read_sessions(written(tmp_path, ACN, packed=packed), ZONE)
    assert first.station_id == "CA-305"
    assert second == Recorded(
        "CA-314",
        1,
        datetime(2019, 5, 1, 13, 33, 14, tzinfo=UTC),
        datetime(2019, 5, 1, 18, 50, 55, tzinfo=UTC),
        21_840,
        17_666,
        claimed_until=datetime(2019, 5, 1, 18, 27, 14, tzinfo=UTC),
    )


def test_an_estimate_that_no_driver_made_is_no_claim(tmp_path: Path) -> None:
    silent = ACN.replace("-07:00,True", "-07:00,False", 1)
    assert [s.claimed_until is None for s in read_sessions(written(tmp_path, silent), ZONE)] == [False, True]


def test_our_own_export_is_read_in_the_sites_time_without_what_is_still_open(tmp_path: Path) -> None:
    (session,) = read_sessions(written(tmp_path, OWN), ZONE)
    arrived_at, left_at = datetime(2026, 7, 1, 6, 0, tzinfo=UTC), datetime(2026, 7, 1, 7, 30, tzinfo=UTC)
    assert session == Recorded("ST1", 2, arrived_at, left_at, 13_550, 13_550)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("21.84", "much", "line 2: requested_energy: “much” is no number"),
        ("21.84", "NaN", "line 2: requested_energy: NaN kWh does not lie between 0 and 1000"),
        ("44.069", "-1", "line 3: delivered_energy: -1 kWh does not lie between 0 and 1000"),
        ("2019-05-01 11:50:55-07:00", "noon", "line 2: “noon” is no time; write it as 2019-05-01 07:08:58-07:00"),
        ("2019-05-01 15:52:36", "2019-04-01 15:52:36", "line 3: it ends before it begins"),
        ("2019-05-01 09:20:45-07:00", "", "line 3: “” is no time; write it as 2019-05-01 07:08:58-07:00"),
        ("CA-314", "", "line 2: the station has no id"),
        (",CA-314", "", "line 2: 7 fields instead of 8"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number_and_the_reason(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert faults(tmp_path, ACN.replace(old, new)) == [says]


def test_every_wrong_line_is_told(tmp_path: Path) -> None:
    assert len(faults(tmp_path, ACN.replace("CA-314", "").replace("44.069", "x"))) == 2


@pytest.mark.parametrize("text", ["", "a,b,c\n1,2,3\n", "badgeId,type,comment,expirationDate,email\n"])
def test_another_table_is_told_from_recorded_sessions(tmp_path: Path, text: str) -> None:
    (fault,) = faults(tmp_path, text)
    assert fault.startswith("line 1: these are no recorded sessions; columns wanted: arrival, delivered_energy")


def test_a_broken_archive_and_a_wrong_encoding_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "half.csv.gz"
    path.write_bytes(gzip.compress(ACN.encode())[:60])
    with pytest.raises(RecordingError, match="line 1: not a whole gzip file"):
        read_sessions(path, ZONE)
    path.write_bytes(ACN.replace("CA-305", "Büro").encode("latin-1"))
    with pytest.raises(RecordingError, match="line 3: not UTF-8 text"):
        read_sessions(path, ZONE)


def test_a_file_without_a_finished_session_is_refused(tmp_path: Path) -> None:
    head, _, open_one = OWN.splitlines()
    assert faults(tmp_path, f"{head}\n{open_one}\n") == ["line 2: there is no finished session in it"]
