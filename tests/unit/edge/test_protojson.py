"""Requests are read as protojson reads them; the texts were observed with daprd."""

from __future__ import annotations

import pytest

from edge.goscanner import JsonError
from edge.protojson import BOOL, BYTES, DURATION_FIELD, PREFIX, STRING, UINT32, VALUE, Message, decode, duration, encode_value

POLICY = Message(
    {"drop": Message({}), "constant": Message({"interval": DURATION_FIELD, "maxRetries": UINT32})},
    "dapr.proto.common.v1.JobFailurePolicy.policy",
    frozenset(("drop", "constant")),
)
JOB = Message(
    {"name": STRING, "schedule": STRING, "repeats": UINT32, "dueTime": STRING, "data": VALUE, "overwrite": BOOL, "failurePolicy": POLICY}
)
REFUSED = [
    (b'{"dueTime":5}', "proto: (line 1:12): invalid value for string field dueTime: 5"),
    (b'{"data":{"a":1,"a":2}}', 'proto: (line 1:16): duplicate map key "a"'),
    (b'{"data": [{"b":{"a":1, "\\u0061":2}}]}', 'proto: (line 1:24): duplicate map key "\\u0061"'),
    (b'{"data":' + b"[" * 11000 + b"]" * 11000 + b"}", "proto: exceeded max recursion depth"),
    (b"5", "proto: syntax error (line 1:1): unexpected token 5"),
    (b"[]", "proto: syntax error (line 1:1): unexpected token ["),
    (b"null", "proto: syntax error (line 1:1): unexpected token null"),
    (b'"x"', 'proto: syntax error (line 1:1): unexpected token "x"'),
    (b"{", "proto: unexpected EOF"),
    (b'{"dueTime"', "proto: unexpected EOF"),
    (b'{"dueTime":', "proto: unexpected EOF"),
    (b'{"dueTime":"1h"', "proto: unexpected EOF"),
    (b'{"dueTime":"1h",', "proto: unexpected EOF"),
    (b'{"dueTime":"1h"}x', "proto: syntax error (line 1:17): invalid value x"),
    (b'{"dueTime":"1h"}{}', "proto: syntax error (line 1:17): unexpected token {"),
    (b'{"dueTime":"1h"} 5', "proto: syntax error (line 1:18): unexpected token 5"),
    (b'{"dueTime":"1h","due_time":"2h","overwrite":true}', 'proto: (line 1:17): duplicate field "due_time"'),
    (b'{"dueTime":"1h","dueTime":"2h"}', 'proto: (line 1:17): duplicate field "dueTime"'),
    (b'{"dueTime":"1h","repeats":1.5}', "proto: (line 1:27): invalid value for uint32 field repeats: 1.5"),
    (b'{"dueTime":"1h","repeats":" 1"}', 'proto: (line 1:27): invalid value for uint32 field repeats: " 1"'),
    (b'{"dueTime":"1h","repeats":4294967296}', "proto: (line 1:27): invalid value for uint32 field repeats: 4294967296"),
    (b'{"dueTime":"1h","repeats":true}', "proto: (line 1:27): invalid value for uint32 field repeats: true"),
    (b'{"dueTime":"1h","repeats":[1]}', "proto: (line 1:27): invalid value for uint32 field repeats: ["),
    (b'{"dueTime":"1h",\n "overwrite":"yes"}', 'proto: (line 2:14): invalid value for bool field overwrite: "yes"'),
    (b'{"dueTime":"1h","overwrite":1}', "proto: (line 1:29): invalid value for bool field overwrite: 1"),
    (b'{"dueTime":"1h","failurePolicy":5}', "proto: syntax error (line 1:33): unexpected token 5"),
    (b'{"dueTime":"1h","failurePolicy":[]}', "proto: syntax error (line 1:33): unexpected token ["),
    (
        b'{"dueTime":"1h","failurePolicy":{"constant":{"interval":"700ms"}}}',
        'proto: (line 1:57): invalid google.protobuf.Duration value "700ms"',
    ),
    (b'{"dueTime":"1h","failurePolicy":{"constant":{"interval":5}}}', "proto: syntax error (line 1:57): unexpected token 5"),
    (b'{"dueTime":"1h","failurePolicy":{"constant":{"interval":{}}}}', "proto: syntax error (line 1:57): unexpected token {"),
    (
        b'{"dueTime":"1h","failurePolicy":{"constant":{"interval":"1s"},"drop":{}},"overwrite":true}',
        'proto: (line 1:63): error parsing "drop", oneof dapr.proto.common.v1.JobFailurePolicy.policy is already set',
    ),
    (
        b'{"dueTime":"1h","failurePolicy":{"constant":{"interval":"999999999999s"}}}',
        'proto: (line 1:57): google.protobuf.Duration value out of range: "999999999999s"',
    ),
    (
        b'{"dueTime":"1h","failurePolicy":{"constant":{"interval":"-.5s","maxRetries":-1}}}',
        "proto: (line 1:77): invalid value for uint32 field maxRetries: -1",
    ),
    (b'{"dueTime":"1h","data":tru}', "proto: syntax error (line 1:24): invalid value tru"),
    (b"{'dueTime':1}", "proto: syntax error (line 1:2): invalid value '"),
    (b'{"dueTime":"a\\q"}', 'proto: syntax error (line 1:12): invalid escape code "\\\\q" in string'),
    (b'{"dueTime":"a\nb"}', "proto: syntax error (line 1:12): invalid character '\\n' in string"),
    (b'{"dueTime":"a\\u12"}', 'proto: syntax error (line 1:12): invalid escape code "\\\\u12\\"}" in string'),
    (b'{"dueTime" "1h"}', 'proto: syntax error (line 1:12): unexpected character ", missing ":" after field name'),
    (b'{"dueTime":"1h" "x":1}', 'proto: syntax error (line 1:17): unexpected token "x"'),
    (b'{"dueTime":"1h",}', "proto: syntax error (line 1:17): unexpected token }"),
    (b"{,}", "proto: syntax error (line 1:2): unexpected token ,"),
    (b'{"a":[1,],"dueTime":"1h"}', "proto: syntax error (line 1:9): unexpected token ]"),
    (b'{"a":[1 2]}', "proto: syntax error (line 1:9): unexpected token 2"),
    (b'{"a":01}', "proto: syntax error (line 1:6): invalid value 01"),
    (b'{"a":+1}', "proto: syntax error (line 1:6): invalid value +1"),
    (b'{"a":1.}', "proto: syntax error (line 1:6): invalid value 1."),
    (b'{"\xc3\xa9":1,"dueTime":5}', "proto: (line 1:18): invalid value for string field dueTime: 5"),
    (b"hello world", "proto: syntax error (line 1:1): invalid value hello"),
    (b"{dueTime:1}", "proto: syntax error (line 1:2): invalid value dueTime"),
    (b'{"schedule":"@daily","dueTime":{"a":1}}', "proto: (line 1:32): invalid value for string field dueTime: {"),
    (b"[1", "proto: syntax error (line 1:1): unexpected token ["),
    (b' \n {"dueTime": nope}', "proto: syntax error (line 2:14): invalid value nope"),
    (b'{"a":"\xff"}', "proto: syntax error (line 1:6): invalid UTF-8 in string"),
    (b'{"data":1}}', "proto: syntax error (line 1:11): unexpected token }"),
    (b"]", "proto: syntax error (line 1:1): unexpected token ]"),
    (b'{"a":}', "proto: syntax error (line 1:6): unexpected token }"),
    (b'{"a"}', 'proto: syntax error (line 1:5): unexpected character }, missing ":" after field name'),
    (b'{"dueTime":"1h","repeats":1e999}', "proto: (line 1:27): invalid value for uint32 field repeats: 1e999"),
    (b'{"dueTime":"1h","data":1e999,"overwrite":true}', "proto: (line 1:24): invalid google.protobuf.Value: 1e999"),
    (b" \n ", "proto: syntax error (line 2:2): unexpected token "),
    (b'{"dueTime":"1h","repeats":"x1"}', 'proto: (line 1:27): invalid value for uint32 field repeats: "x1"'),
]
TAKEN = [
    b'{"dueTime":"1h","repeats":1.0,"overwrite":true}',
    b'{"dueTime":"1h","repeats":1e0,"overwrite":true}',
    b'{"dueTime":"1h","repeats":"1","overwrite":true}',
    b'{"dueTime":"1h","repeats":"1.0e0","overwrite":true}',
    b'{"dueTime":"1h","repeats":null,"overwrite":true}',
    b'{"Duetime":"1h"}',
    b'{"dueTime":"1h","unknown":[1e999]}',
    b'{"dueTime":"1h","unknown":{"deep":[1,{"x":null}]},"overwrite":true}',
    b'{"dueTime":"1h","name":""  ,"overwrite":true}',
    b'{"dueTime":"1h","failurePolicy":{},"overwrite":true}',
    b'{"dueTime":"1h","failurePolicy":{"constant":{}},"overwrite":true}',
    b'{"dueTime":"1h","failurePolicy":{"constant":null},"overwrite":true}',
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_refusals_name_the_place(body: bytes, message: str) -> None:
    with pytest.raises(JsonError) as caught:
        decode(body, JOB)

    assert str(caught.value).replace("\u00a0", " ") == message


@pytest.mark.parametrize("body", TAKEN)
def test_what_protojson_takes_is_taken(body: bytes) -> None:
    decode(body, JOB)


def test_fields_come_by_json_name_whatever_the_spelling() -> None:
    policy = b'{"constant":{"interval":"0.7s","max_retries":2}}'
    body = b'{"due_time":"1h","repeats":"3","failure_policy":%b,"data":null,"x":[{}],"name":null}' % policy

    assert decode(body, JOB) == {
        "dueTime": "1h",
        "repeats": 3,
        "failurePolicy": {"constant": {"interval": 0.7, "maxRetries": 2}},
        "data": None,
    }
    assert decode(b"", JOB) == {}


def test_values_are_written_as_go_writes_them() -> None:
    value = decode('{"data":{"z":1.50,"a":[1e21,0.000000001,7.0],"h":"<é"}}'.encode(), JOB)["data"]

    assert encode_value(value) == '{"a":[1e+21,1e-9,7],"h":"<é","z":1.5}'.encode()


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (0.7, "0.700s"), (1.0000005, "1.000000500s"), (0.0000010, "0.000001s"), (-1.5, "-1.500s")]
)
def test_durations_have_0_3_6_or_9_digits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (rb'"\ud83d"', "unexpected EOF"),
        (rb'{"name":"\ud83d"}', "unexpected EOF"),
        (rb'{"\ud83d":"c","b":1}', r'syntax error (line 1:2): invalid escape code "\":\"c\"," in string'),
        (rb'{"name":"\ud83dxx\ude00"}', r'syntax error (line 1:9): invalid escape code "xx\\ude" in string'),
    ],
)
def test_half_a_character_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(JsonError) as refused:
        decode(data, Message({"name": STRING}))

    assert str(refused.value) == f"{PREFIX}{text}"


def test_both_halves_are_a_character() -> None:
    assert decode(rb'{"name":"\ud83d\ude00 \\ud83d"}', Message({"name": STRING})) == {"name": "\U0001f600 \\ud83d"}


@pytest.mark.parametrize(("text", "data"), [("aGk=", b"hi"), ("aGk", b"hi"), ("-_8", b"\xfb\xff"), ("=", None), ("A=", None)])
def test_bytes_are_base64_with_padding_or_without(text: str, data: bytes | None) -> None:
    message, sent = Message({"b": BYTES}), f'{{"b":"{text}"}}'.encode()
    if data is not None:
        assert decode(sent, message) == {"b": data}
        return
    with pytest.raises(JsonError, match="invalid value for bytes field b"):
        decode(sent, message)
