"""Length-prefixed messages, however the bytes are cut."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import Grpc
from edge.rpc.messages import MOST_ZIPPED, Messages, prefix, prefixed, whole
from edge.rpc.status import RpcError


@given(st.lists(st.binary(max_size=50), max_size=6), st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_messages_come_whole_whatever_the_cuts(sent: list[bytes], cuts: list[int]) -> None:
    data, reader, found = b"".join(prefix(len(m)) + m for m in sent), Messages(0), []

    for cut in cuts * 20:
        found += reader.feed(data[:cut])
        data = data[cut:]
    found += reader.feed(data)

    assert found == sent
    assert reader.unfinished == 0


def test_a_message_is_whole_only_without_more_or_less() -> None:
    assert whole(prefix(2) + b"ab")
    assert not whole(prefix(2) + b"a")
    assert not whole(prefix(2) + b"abc")
    assert not whole(b"\1" + prefix(2)[1:] + b"ab")


def test_too_large_is_refused_at_the_prefix() -> None:
    with pytest.raises(RpcError) as caught:
        Messages(1024).feed(prefix(1214))

    assert (caught.value.code, caught.value.message) == (
        Grpc.RESOURCE_EXHAUSTED, "grpc: received message larger than max (1214 vs. 1024)",
    )  # fmt: skip


def test_gzip_is_unpacked_within_the_limit() -> None:
    packed = gzip.compress(b"x" * 1000)
    framed = b"\1" + len(packed).to_bytes(4, "big") + packed

    assert Messages(1000, "gzip").feed(framed) == [b"x" * 1000]
    with pytest.raises(RpcError, match="after decompression larger than max 999"):
        Messages(999, "gzip").feed(framed)


def test_gzip_may_have_several_members() -> None:
    packed = gzip.compress(b"plum" * 250) + gzip.compress(b"") + gzip.compress(b"jam")

    assert Messages(1003, "gzip").feed(b"\1" + len(packed).to_bytes(4, "big") + packed) == [b"plum" * 250 + b"jam"]
    with pytest.raises(RpcError, match="after decompression larger than max 1002"):
        Messages(1002, "gzip").feed(b"\1" + len(packed).to_bytes(4, "big") + packed)


@pytest.mark.parametrize("message", [b"", b"x", b"x" * MOST_ZIPPED, b"x" * (MOST_ZIPPED + 1)])
def test_what_is_sent_zipped_reads_back(message: bytes) -> None:
    sent = prefixed(message, True)

    assert Messages(0, "gzip").feed(sent) == [message]
    assert sent[0] == (0 < len(message) <= MOST_ZIPPED)


@pytest.mark.parametrize(
    ("data", "encoding", "code"),
    [
        (b"\1\0\0\0\1x", "", Grpc.INTERNAL),
        (b"\1\0\0\0\1x", "snappy", Grpc.UNIMPLEMENTED),
        (b"\1\0\0\0\1x", "gzip", Grpc.INTERNAL),
        (b"\2\0\0\0\1x", "", Grpc.INTERNAL),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, encoding: str, code: int) -> None:
    with pytest.raises(RpcError) as caught:
        Messages(0, encoding).feed(data)

    assert caught.value.code == code
