"""The frame guard, the codec and the handshake's identity: any input gives a value, never an exception."""

from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from llm_adapters.ocpp16 import frames
from llm_adapters.ocpp16.frames import Call, CallError, CallResult, ErrorCode, Malformed
from llm_adapters.ocpp16.identity import Accepted, Refused, basic_auth_key, choose_subprotocol, station_id

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**60), 10**60) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
MESSAGE_LIKE = st.lists(st.sampled_from([2, 3, 4, 2.0, True]) | JSON, max_size=7)


def is_message(value: object) -> bool:
    return isinstance(value, Call | CallResult | CallError | Malformed)


# -- any bytes give a value ----------------------------------------------------------------------------


@given(st.binary(max_size=400) | st.text(alphabet=st.characters(exclude_categories=()), max_size=400))
@example(b'[2,"\xff","Heartbeat",{}]')
@example('[2,"\ud800","Heartbeat",{}]')
@example("[" * 100_000)
@example('[2,"1","X",' + '{"a":' * 100_000)
@example('[2,"' + '\\"' * 100_000)
@example("\\" * 1001 + '"')
def test_any_frame_decodes_to_a_value(frame: str | bytes) -> None:
    assert is_message(frames.decode(frame))
    assert isinstance(frames.is_answer(frame), bool)


@given(MESSAGE_LIKE)
def test_any_array_decodes_to_a_value(value: list[object]) -> None:
    assert is_message(frames.decode(json.dumps(value)))


@given(st.text(alphabet='[]{}",\\:0aNI-.e \ud83d', max_size=60))
def test_any_json_like_text_decodes_to_a_value(text: str) -> None:
    assert is_message(frames.decode(text))
    assert is_message(frames.decode('[2,"1","X",' + text))


@given(st.text(max_size=36), st.text(min_size=1, max_size=50), st.dictionaries(st.text(), JSON, max_size=4))
def test_what_json_can_say_and_is_in_bounds_comes_through_unchanged(
    unique_id: str, action: str, payload: dict[str, object]
) -> None:
    text = json.dumps([2, unique_id, action, payload])
    assume("NaN" not in text and "Infinity" not in text)
    call = frames.decode(text)
    assert isinstance(call, Call)
    assert json.dumps([2, call.unique_id, call.action, call.payload]) == text


# -- bounds ---------------------------------------------------------------------------------------------


def nested(levels: int) -> str:
    """A call whose brackets nest `levels` deep, the array and the payload included."""
    return '[2,"7","X",{"a":' + "[" * (levels - 2) + "]" * (levels - 2) + "}]"


def test_depth_is_bounded_exactly() -> None:
    assert isinstance(frames.decode(nested(frames.MAX_DEPTH)), Call)
    assert frames.decode(nested(frames.MAX_DEPTH + 1)) == Malformed("nested deeper than 32", "7", False)


def test_brackets_in_strings_and_side_by_side_are_not_depth() -> None:
    payload = {"text": '[{"\\' * 200, "rows": [{"a": [1]} for _ in range(200)]}
    assert frames.decode(json.dumps([2, "7", "X", payload])) == Call("7", "X", payload)


@given(JSON, st.integers(0, 40))
def test_depth_agrees_with_walking_the_value(value: object, levels: int) -> None:
    for _ in range(levels):
        value = {"k]": [value]}

    def depth(part: object) -> int:
        children = part if isinstance(part, list) else part.values() if isinstance(part, dict) else None
        return 0 if children is None else 1 + max(map(depth, children), default=0)

    text = json.dumps([2, "7", "X", {"value": value}])
    decoded = frames.decode(text)
    if 2 + depth(value) > frames.MAX_DEPTH:
        assert isinstance(decoded, Malformed)
    else:
        assert decoded.unique_id == "7"
        assert not (isinstance(decoded, Malformed) and "deeper" in decoded.reason)


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "1" * 65, "0." + "1" * 100, "1e999", "NaN", "-Infinity"])
def test_a_number_out_of_bounds_is_malformed_and_the_id_still_readable(number: str) -> None:
    decoded = frames.decode(f'[2, "42", "MeterValues", {{"connectorId": {number}}}]')
    assert isinstance(decoded, Malformed)
    assert decoded.unique_id == "42"


def test_numbers_as_stations_send_them_are_kept() -> None:
    decoded = frames.decode('[2,"1","X",{"t":9223372036854775807,"n":-16,"f":16.4}]')
    assert decoded == Call("1", "X", {"t": 2**63 - 1, "n": -16, "f": 16.4})


@pytest.mark.parametrize("filler", ["a", "é", "\U0001f50c"])
def test_size_is_counted_in_bytes_of_utf8(filler: str) -> None:
    def frame(count: int) -> str:
        return f'[2,"1","X",{{"a":"{filler * count}"}}]'

    around = len(frame(0))
    fits = (1000 - around) // len(filler.encode())
    for encode in (str, str.encode):
        assert isinstance(frames.decode(encode(frame(fits)), 1000), Call)
        too_large = frames.decode(encode(frame(fits + 1)), 1000)
        assert too_large == Malformed("larger than 1000 bytes", "1", False)


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 2**20,
        "[[]" * (2**20 // 3),
        ("[" * 40 + "]" * 40) * (2**20 // 80),
        '[2,"' + '\\"' * 2**19,
        '"' * 2**20,
        "9" * 2**20,
        "[" + "9" * 2**20,
        " " * 2**20,
        '[2,"1","X",{"a":"' + "\\u0041" * 170_000 + '"}]',
    ],
    ids=lambda text: text[:12],
)
def test_a_hostile_frame_costs_little_time(hostile: str) -> None:
    began = time.process_time()
    frames.decode(hostile, 2**21)
    assert time.process_time() - began < 0.5


def test_half_a_surrogate_pair_is_refused_and_a_whole_one_is_text() -> None:
    half = frames.decode(r'[2,"1","X",{"a":"\ud83d"}]')
    assert isinstance(half, Malformed)
    assert half.unique_id == "1"
    assert frames.decode(r'[2,"1","X",{"a":"\ud83d\udd0c"}]') == Call("1", "X", {"a": "\U0001f50c"})


# -- shapes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ('[2,"1","Heartbeat",{}]', Call("1", "Heartbeat", {})),
        (b' [ 2 , "1" , "Heartbeat" , {} ] \n', Call("1", "Heartbeat", {})),
        ('[2,"1","Heartbeat"]', Call("1", "Heartbeat", {})),
        ('[2,"1","Heartbeat",null]', Call("1", "Heartbeat", {})),
        ('[2,"1","Heartbeat",[]]', Call("1", "Heartbeat", {})),
        ('[2,"1","Heartbeat",{},"more"]', Call("1", "Heartbeat", {})),
        ('[2,"","Heartbeat",{}]', Call("", "Heartbeat", {})),
        ('[2,"{}","Heartbeat",{{}}]'.format("x" * 40), Call("x" * 40, "Heartbeat", {})),
        ('[3,"1",{"status":"Accepted"}]', CallResult("1", {"status": "Accepted"})),
        ('[3,"1"]', CallResult("1", {})),
        ('[3,"1",null]', CallResult("1", {})),
        ('[4,"1","NotSupported","no",{"a":1}]', CallError("1", "NotSupported", "no", {"a": 1})),
        ('[4,"1","InternalError","",[]]', CallError("1", "InternalError", "", {})),
        ('[4,"1","InternalError","",["x"]]', CallError("1", "InternalError", "", {"details": ["x"]})),
        ('[4,"1","Own","d"]', CallError("1", "Own", "d", {})),
        ('[4,"1"]', CallError("1", "GenericError", "", {})),
        ('[4,"1",null,null,null]', CallError("1", "GenericError", "", {})),
        ('[4,"1",["x"],{},"y"]', CallError("1", "GenericError", "", {"details": "y"})),
        ('[4,"1","FormatViolation","",{}]', CallError("1", "FormationViolation", "", {})),
        (
            '[4,"1","OccurrenceConstraintViolation","",{}]',
            CallError("1", "OccurenceConstraintViolation", "", {}),
        ),
    ],
)
def test_a_frame_is_read_as_it_was_meant(frame: str | bytes, message: frames.Message) -> None:
    assert frames.decode(frame) == message


@pytest.mark.parametrize(
    ("frame", "unique_id", "is_answer"),
    [
        ("", None, False),
        ("null", None, False),
        ('"text"', None, False),
        ("{}", None, False),
        ("[]", None, False),
        ("[2]", None, False),
        ("[3]", None, True),
        ('[2,{"a":1},"X",{}]', None, False),
        ('[2,["1"],"X",{}]', None, False),
        ('[2,17,"X",{}]', None, False),
        ('[2,"{}","X",{{}}]'.format("x" * 1000), None, False),
        ('[2,"1"]', "1", False),
        ('[2,"1",["X"],{}]', "1", False),
        ('[2,"1",{},{}]', "1", False),
        ('[2,"1","",{}]', "1", False),
        ('[2,"1","{}",{{}}]'.format("X" * 1000), "1", False),
        ('[2,"1","X",[1]]', "1", False),
        ('[2,"1","X","{}"]', "1", False),
        ('[2,"1","X",{]', "1", False),
        ('[2,"1","X",{}', "1", False),
        ('[2,"1","X",{}]]', "1", False),
        ('[5,"1","X",{}]', "1", False),
        ('[[2],"1","X",{}]', "1", False),
        ('["2","1","X",{}]', "1", False),
        ('[3,"1",[1]]', "1", True),
        ('[3,"1",{', "1", True),
        ('[4,"1",NaN]', "1", True),
        (b'[2,"1","X",{"a":"\xff"}]', "1", False),
        (b"\xff\xfe[2]", None, False),
    ],
)
def test_what_is_no_message_is_malformed_with_its_id_where_readable(
    frame: str | bytes, unique_id: str | None, is_answer: bool
) -> None:
    decoded = frames.decode(frame)
    assert isinstance(decoded, Malformed)
    assert (decoded.unique_id, decoded.is_answer) == (unique_id, is_answer)
    assert decoded.reason


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ('[3,"1",{}]', True),
        ('[4,"1"]', True),
        ("[3]", True),
        (b' [\n3 ,"1",{}]', True),
        ('[2,"1","X",{}]', False),
        ('[34,"1"]', False),
        ('{"3":3}', False),
    ],
)
def test_an_answer_is_told_by_its_first_bytes(frame: str | bytes, expected: bool) -> None:
    assert frames.is_answer(frame) is expected


# -- what we send ---------------------------------------------------------------------------------------


def test_what_we_send_is_compact_and_of_the_right_shape() -> None:
    assert frames.encode_call("1", "Reset", {"type": "Soft"}) == '[2,"1","Reset",{"type":"Soft"}]'
    assert frames.encode_result("1", {}) == '[3,"1",{}]'
    error = frames.encode_error("1", ErrorCode.NOT_IMPLEMENTED, "d" * 1000, {"a": 1})
    assert json.loads(error) == [4, "1", "NotImplemented", "d" * 255, {"a": 1}]


def test_what_is_no_json_is_never_sent() -> None:
    with pytest.raises(ValueError):
        frames.encode_result("1", {"a": float("nan")})


# -- identity -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/CP_1", "CP_1"),
        ("/a/b/CP", "CP"),
        ("/ocpp/CP/", "CP"),
        ("//ws://host/CP_1/SERIAL", "SERIAL"),
        ("/RDAM%20123", "RDAM 123"),
        ("/RDAM%2520123", "RDAM%20123"),
        ("/cp?token=a/b", "cp"),
        ("/20:69:C0", "20:69:C0"),
        ("/" + "x" * 64, "x" * 64),
        ("/%C3%A9", "é"),
        ("/" + "x" * 65, None),
        ("/", None),
        ("", None),
        ("/?x=CP", None),
        ("/a/%00", None),
        ("/a%0Ab", None),
        ("/a%E2%80%AEb", None),  # a right-to-left override would disguise the name
        ("/%20", None),
        ("/%FF", None),
    ],
)
def test_the_id_is_the_last_segment_that_says_something(path: str, expected: str | None) -> None:
    assert station_id(path) == expected


@given(st.text(max_size=200))
def test_any_path_gives_a_printable_id_or_none(path: str) -> None:
    found = station_id(path)
    assert found is None or (0 < len(found) <= 64 and found.isprintable())


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ([], Accepted(None)),
        ([""], Accepted(None)),
        (["ocpp1.6"], Accepted("ocpp1.6")),
        (["OCPP1.6"], Accepted("OCPP1.6")),
        (["ocpp2.0.1, ocpp1.6"], Accepted("ocpp1.6")),
        (["ocpp2.0.1", "ocpp1.6"], Accepted("ocpp1.6")),
        (["ocpp2.0.1"], Refused(("ocpp2.0.1",))),
        (["ocpp1.5,mqtt"], Refused(("ocpp1.5", "mqtt"))),
    ],
)
def test_a_station_that_means_1_6_is_accepted(offered: list[str], expected: Accepted | Refused) -> None:
    assert choose_subprotocol(offered) == expected


def basic(user: str, key: bytes) -> str:
    return "Basic " + base64.b64encode(user.encode() + b":" + key).decode()


@given(st.text(min_size=1, max_size=64), st.binary(max_size=40))
def test_any_key_of_any_station_is_read_back(station: str, key: bytes) -> None:
    assert basic_auth_key(basic(station, key), station) == key


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic é",
        "Bearer abc",
        basic("cp", b"key"),
        basic("CP2", b"key"),
        "Basic " + base64.b64encode(b"CP").decode(),
    ],
)
def test_a_header_of_someone_else_or_no_header_gives_no_key(header: str | None) -> None:
    assert basic_auth_key(header, "CP") is None


def test_a_header_without_padding_or_in_another_case_is_read() -> None:
    assert basic_auth_key(basic("CP", b"a:b\x00").replace("Basic", "basic").rstrip("="), "CP") == b"a:b\x00"


@pytest.mark.parametrize(
    ("frame", "action"),
    [
        ('[2,"1","MeterValues",{}]', "MeterValues"),
        ('[2, "1", "MeterValues", {}]', "MeterValues"),
        ('[2,"1","MeterValues', None),
        ('[3,"1","MeterValues",{}]', None),
        ('[2,"a\\"b","MeterValues",{}]', None),
        ('[2,"1",["MeterValues"],{}]', None),
        (' [2,"1","MeterValues",{}]', None),
        (b'[2,"1","MeterValues",{}]', None),
    ],
)
def test_the_action_of_a_call_is_told_from_its_beginning_where_it_is_written_as_usual(
    frame: str | bytes, action: str | None
) -> None:
    assert frames.action_of(frame) == action


@given(st.text(max_size=12), st.text(max_size=12), JSON)
def test_an_action_that_is_told_from_the_beginning_is_the_one_that_is_decoded(
    unique_id: str, action: str, payload: object
) -> None:
    text = json.dumps([2, unique_id, action, payload])
    told, decoded = frames.action_of(text), frames.decode(text)
    assert told is None or not isinstance(decoded, Call) or told == decoded.action
