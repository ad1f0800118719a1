"""DNS messages of service discovery, against zeroconf-like packets written out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.nameresolution import _dns
from components.nameresolution._dns import AAAA, PTR, SRV, TXT, A, Record

RECORDS = (
    Record("cellar.local", PTR, 3200, target="vm:12.cellar.local"),
    Record("vm:12.cellar.local", SRV, 3200, target="vm.local", port=50002),
    Record("vm:12.cellar.local", TXT, 3200, texts=("cellar",)),
    Record("vm.local", A, 120, address="192.0.2.7"),
    Record("vm.local", AAAA, 120, address="2001:db8::7"),
)
# one question for cellar.local PTR, and an answer that points back at the question's name
COMPRESSED = (
    b"\0\7\x84\0\0\1\0\1\0\0\0\0" b"\6Cellar\5local\0\0\x0c\0\1" b"\xc0\x0c\0\x0c\0\1\0\0\x0c\x80\0\x08" b"\5vm:12\xc0\x0c"
)  # fmt: skip


def test_what_is_written_is_read() -> None:
    packet = _dns.parse(_dns.response(RECORDS[:1], RECORDS[1:], 7))

    assert (packet.id, packet.response, packet.records) == (7, True, RECORDS)


def test_a_question_is_written_as_daprd_asks() -> None:
    assert _dns.query("cellar.local") == b"\0\0\0\0\0\1\0\0\0\0\0\0\6cellar\5local\0\0\x0c\0\1"


def test_names_may_point_into_the_packet() -> None:
    packet = _dns.parse(COMPRESSED)

    assert packet.questions[0].name == "cellar.local"
    assert packet.records[0].target == "vm:12.cellar.local"


def test_a_dot_in_a_label_stays_in_it() -> None:
    one = Record("a\\.b:1.cellar.local", TXT, 1, texts=("cellar",))

    assert _dns.parse(_dns.response((one,))).records == (one,)


@given(st.binary(max_size=80))
def test_rubbish_is_refused_or_read_but_never_worse(data: bytes) -> None:
    try:
        _dns.parse(data)
    except _dns.Malformed:
        pass


def test_names_that_point_at_each_other_are_refused() -> None:
    with pytest.raises(_dns.Malformed):
        _dns.parse(b"\0\0\0\0\0\1\0\0\0\0\0\0\xc0\x0c\0\x0c\0\1")
