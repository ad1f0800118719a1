"""HPACK against RFC 7541's own examples and against the hpack library as oracle."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.rpc.frames import H2, ConnectionFault
from edge.rpc.hpack import Decoder, Encoder

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
NAMES = st.sampled_from([":path", ":authority", "content-type", "x-a", "grpc-timeout", "grpc-status", "user-agent", "cookie"])
LISTS = st.lists(st.lists(st.tuples(NAMES, TEXT), max_size=12), max_size=6)


def decoder() -> Decoder:
    return Decoder(1 << 20)


# RFC 7541 C.3 and C.4: three requests on one connection, without and with Huffman coding
PLAIN = (
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
)
HUFFMAN = ("828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")


@pytest.mark.parametrize("blocks", [PLAIN, HUFFMAN], ids=["plain", "huffman"])
def test_examples_of_the_rfc(blocks: tuple[str, str, str]) -> None:
    read = decoder()
    host = (":authority", "www.example.com")
    common = [(":method", "GET"), (":scheme", "http"), (":path", "/")]

    assert read.decode(bytes.fromhex(blocks[0])) == [*common, host]
    assert read.decode(bytes.fromhex(blocks[1])) == [*common, host, ("cache-control", "no-cache")]
    assert read.decode(bytes.fromhex(blocks[2])) == [
        (":method", "GET"), (":scheme", "https"), (":path", "/index.html"), host, ("custom-key", "custom-value"),
    ]  # fmt: skip


@given(LISTS, st.booleans())
def test_reads_what_the_library_writes(lists: list[list[tuple[str, str]]], huffman: bool) -> None:
    write, read = hpack.Encoder(), decoder()

    for fields in lists:
        assert read.decode(write.encode(fields, huffman=huffman)) == fields


@given(LISTS, st.lists(st.sampled_from([0, 100, 4096]), max_size=2))
def test_the_library_reads_what_we_write(lists: list[list[tuple[str, str]]], sizes: list[int]) -> None:
    write, read = Encoder(), hpack.Decoder()

    for number, fields in enumerate(lists):
        if number < len(sizes):
            write.limit(sizes[number])
        for encode in (write.encode, write.constant, write.constant):
            assert [tuple(field) for field in read.decode(encode(tuple(fields)))] == fields


def test_a_repeated_head_shrinks_to_its_indexes() -> None:
    write = Encoder()
    fields = ((":status", "200"), ("content-type", "application/grpc"))

    first, second = write.constant(fields), write.constant(fields)

    assert len(first) > 15
    assert second == b"\x88\xbe"


def test_a_block_may_be_remembered_until_the_table_changes() -> None:
    read = decoder()

    read.decode(bytes.fromhex("828684410f7777772e6578616d706c652e636f6d"))
    after_insert = read.generation
    read.decode(bytes.fromhex("828684be"))

    assert read.generation == after_insert == 1


@pytest.mark.parametrize(
    "block",
    ["80", "ff80808080808001", "c0", "828220", "3fe21f", "418c", "4184ffffffff", "400161", "0f", "7f"],
    ids=["index 0", "long integer", "index beyond", "late resize", "resize too large", "cut string", "EOS", "cut literal", "cut", "cut 2"],
)
def test_broken_blocks_are_compression_errors(block: str) -> None:
    with pytest.raises(ConnectionFault) as caught:
        decoder().decode(bytes.fromhex(block))

    assert caught.value.code is H2.COMPRESSION_ERROR


def test_a_bomb_of_references_is_refused_by_its_decoded_size() -> None:
    read = Decoder(64 << 10)
    read.decode(b"\x40\x01a" + b"\x7f\x81\x1e" + b"x" * 3968)  # one entry of 4 kB

    with pytest.raises(ConnectionFault) as caught:
        read.decode(b"\xbe" * 16000)

    assert caught.value.code is H2.ENHANCE_YOUR_CALM


def test_bytes_that_are_no_utf8_pass_through() -> None:
    read, write = decoder(), Encoder()

    ((name, value),) = read.decode(b"\x00\x01a\x02\xff\xfe")

    assert write.encode([(name, value)]).endswith(b"\x02\xff\xfe")
