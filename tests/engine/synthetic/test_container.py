"""A set's file: what a user loses here is the set, or a kilobyte to what is none of it."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from engine.synthetic.container import WORDS, pack, unpack
from engine.synthetic.streams import Coding
from tests.engine.synthetic.test_streams import psnr, smooth

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
HEADS = st.dictionaries(st.text().filter(lambda name: name != "parts"), JSON, max_size=5)
PARTS = st.dictionaries(st.text(max_size=9), st.binary(max_size=40), max_size=4)
HEAD = {"kind": "pixels", "classes": ["Juggling", "Écriture"], "ipc": 1, "frames": 4, "size": [24, 32]}
FILE = pack(HEAD, {"pixels": bytes(range(90)), "labels": b"abc"})


@given(HEADS, PARTS)
def test_what_is_packed_comes_back(head: dict[str, Any], parts: dict[str, bytes]) -> None:
    """Any JSON, any bytes, any names, in their order; and the same again gives the same file."""
    content = pack(head, parts)
    back, own = unpack(content)
    assert back == head and list(own.items()) == list(parts.items())
    assert pack(head, parts) == content


def test_files_of_this_version_are_read_for_ever() -> None:
    """A file that was written when version 1 was settled: other words would be another format, and need a version."""
    file = base64.b64decode(
        "dmRzAcMr6VWanp6TmZcOFD3cmVyUWVJalKqExYkmOjDvGJnoGGN3hSXQk7Bg1zGOja0FAAAAAAAAAAAAAGFiY/n6qZ4="
    )
    assert unpack(file) == (HEAD, {"pixels": bytes(9), "labels": b"abc"})


def test_a_file_is_as_short_as_it_is_said_to_be() -> None:
    """A set of two classes: 100 bytes and no more beside what is stored, where a JSON header took 700."""
    assert len(FILE) - 93 < 100
    plain = json.dumps(HEAD | {"parts": [["pixels", 90], ["labels", 3]]}, ensure_ascii=False).encode()
    assert len(FILE) - 93 - 8 < 0.75 * len(zlib.compress(plain, 9))


def test_a_file_is_read_without_our_code() -> None:
    """From the format's own words: zlib, json, PyAV, and numbers at known places."""
    clips = smooth(2, 4, 24, 32)
    coding = Coding.parse("h264-20")
    file = pack(HEAD, {"pixels": coding.encode(clips), "labels": b"abc"})
    assert file[:4] == b"vds\x01" and struct.unpack("<I", file[-4:])[0] == zlib.crc32(file[:-4])
    inflate = zlib.decompressobj(-15, WORDS)
    head = json.loads(inflate.decompress(file[4:-4]))
    rest, parts = inflate.unused_data, {}
    for name, length in head.pop("parts"):
        parts[name], rest = rest[:length], rest[length:]
    assert head == HEAD and not rest and parts["labels"] == b"abc"
    content, stream = io.BytesIO(parts["pixels"]), b""
    while byte := content.read(1):
        length, shift = byte[0] & 127, 7
        while byte[0] & 128:
            byte = content.read(1)
            length |= (byte[0] & 127) << shift
            shift += 7
        stream += b"\0\0\1" + content.read(length)
    with av.open(io.BytesIO(stream), format="h264") as container:
        played = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    assert psnr(np.stack(played).reshape(clips.shape), clips) > 30


@given(st.data())
def test_damaged_files_are_told_as_such(data: st.DataObject) -> None:
    """A download that broke off, a bad block, something behind the end: DataError in one line."""
    content = bytearray(FILE)
    for place in data.draw(st.sets(st.integers(0, len(FILE) - 1), max_size=3)):
        content[place] ^= data.draw(st.integers(1, 255))
    kept = bytes(content[: data.draw(st.integers(0, len(content)))]) + data.draw(st.binary(max_size=9))
    if kept == FILE:
        return
    with pytest.raises(DataError) as caught:
        unpack(kept)
    assert "\n" not in caught.value.problem and caught.value.hint


@given(st.binary(max_size=300))
def test_made_up_files_are_refused(body: bytes) -> None:
    """With a good checksum, too."""
    content = b"vds\x01" + body
    with pytest.raises(DataError):
        unpack(content + zlib.crc32(content).to_bytes(4, "little"))
    with pytest.raises(DataError):
        unpack(body)


def made_up(text: bytes, rest: bytes = b"") -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9, 0, WORDS)
    content = b"vds\x01" + coder.compress(text) + coder.flush() + rest
    return content + zlib.crc32(content).to_bytes(4, "little")


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"[]", b"{}", b'{"parts":{}}', b'{"parts":[["a",2]]}', b'{"parts":[["a",4]]}', b'{"parts":[["a",-3]]}'),
        *(b'{"parts":[["a",1],["a",2]]}', b'{"parts":[[1,3]]}', b'{"parts":[["a",3,0]]}', b'{"parts":[["a",3.0]]}'),
        *(b'{"parts":[["a",true],["b",2]]}', b'{"x":NaN,"parts":[["a",3]]}', b'{"parts":[["a",5],["b",-2]]}'),
        *(b"[" * 100_000, b'{"parts":["a"]}', b"\xff{}", b'{"parts":[["a",3]]', b'{"x":' + b"1" * 5000 + b"}"),
        *(b" " * (1 << 25),),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_heads_that_do_not_fit_are_refused(text: bytes) -> None:
    """Nor may a file with a good checksum point outside of itself, or inflate to gigabytes."""
    assert unpack(made_up(b'{"parts":[["a",3]]}', b"abc")) == ({}, {"a": b"abc"})
    with pytest.raises(DataError) as caught:
        unpack(made_up(text, b"abc"))
    assert "checksum" not in caught.value.problem and "\n" not in caught.value.problem


def test_other_versions_and_other_files_are_named() -> None:
    """A user is told to update, not that the file is damaged."""
    with pytest.raises(DataError, match="version 2") as caught:
        unpack(b"vds\x02" + FILE[4:])
    assert "Update" in caught.value.hint
    with pytest.raises(DataError, match="not the file"):
        unpack(b"PK\x03\x04")
