"""A set's file: one head that JSON can say, some named byte strings, and as little else as can be.

A set of two classes may be a kilobyte, of which a safetensors header with its metadata took two thirds. Here a file is

    3 bytes  "vds"
    1 byte   version of this layout: 1
    head     JSON in UTF-8, deflated (raw, with WORDS as preset dictionary); it ends where its deflate stream ends.
             Its key ``parts`` lists [name, length] of each part in order
    parts    one after the other
    4 bytes  CRC-32 of all before, little-endian

A reader needs zlib and json. The checksum is there since a decoder shows something of most damaged streams, and nobody
would know.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from engine.errors import DataError
from engine.text import one_line

MAGIC, VERSION = b"vds", 1
WORDS = (
    b'"selected_on":"none""test""val""protocol":"vdsd""strict""preset":"","seed":0,"step":,"accuracy":0.'
    b'"float16""float32""uint8""jpeg-50""avif-10""av1-10""h264-35@half"frames","labels":"soft_labels","hallucinator":'
    b'"temporal":"static-images""static-only""static-dynamic""coreset""static":"dynamic":"pixels":"size":[64,64],'
    b'[112,112],"ipc":1,"frames":8,16,"mean":[0.4,0.4,0.4],"std":[0.2,0.2,0.2],"parts":[["pixels",'
    b'{"kind":"pixels","classes":["'
)
"""Words of heads, likely ones last. Part of the format: a file can be read only with the words it was written with.

Those of version 1 are settled; other ones would be version 2.
"""
MOST_HEAD = 1 << 22
"""Bytes of a head as JSON. That of 400 classes has a two-hundredth; a few bytes could be deflated from gigabytes."""
_HINT = "Use another copy of the file; a damaged one cannot be mended."
_PARTS = "parts"


def is_packed(content: bytes) -> bool:
    """Return whether ``content`` begins as a file of ``pack``, of whatever version."""
    return content[: len(MAGIC)] == MAGIC


def pack(head: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    """The file of ``head``, which JSON can say and which has no key ``parts``, and of ``parts`` by name.

    Equal heads and parts in equal order give equal bytes.
    """
    assert _PARTS not in head, head
    lengths = [[name, len(part)] for name, part in parts.items()]
    said = json.dumps({**head, _PARTS: lengths}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = said.encode("utf-8")
    assert len(text) <= MOST_HEAD, len(text)
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY, WORDS)
    content = MAGIC + bytes([VERSION]) + coder.compress(text) + coder.flush() + b"".join(parts.values())
    return content + zlib.crc32(content).to_bytes(4, "little")


def unpack(content: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Head and parts of a file of ``pack``. Raises DataError for anything else, of any version but this."""
    if not is_packed(content):
        raise DataError("This is not the file of a synthetic set.", "Choose a file that vdtui has written.")
    if len(content) > len(MAGIC) and content[len(MAGIC)] != VERSION:
        problem = f"The set's file has version {content[len(MAGIC)]} of its format; this vdtui reads {VERSION}."
        raise DataError(problem, "Update vdtui to read it.")
    body, check = content[:-4], content[-4:]
    if len(body) <= len(MAGIC) or zlib.crc32(body) != int.from_bytes(check, "little"):
        raise _damaged("its checksum is another one")
    coder = zlib.decompressobj(-zlib.MAX_WBITS, WORDS)
    try:
        text = coder.decompress(body[len(MAGIC) + 1 :], MOST_HEAD)
    except zlib.error as error:
        raise _damaged(f"its head cannot be read: {error}") from error
    if not coder.eof:
        raise _damaged("its head has no end")
    head = _head(text)
    return head, _parts(head.pop(_PARTS, None), coder.unused_data)


def _head(text: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    try:
        head = json.loads(text.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise _damaged(f"its head is no JSON: {error}") from error
    if not isinstance(head, dict):
        raise _damaged("its head is no JSON object")
    return head


def _parts(listed: Any, rest: bytes) -> dict[str, bytes]:
    fits = isinstance(listed, list) and all(
        isinstance(item, list)
        and len(item) == 2
        and isinstance(item[0], str)
        and type(item[1]) is int
        and 0 <= item[1] <= len(rest)
        for item in listed
    )
    if not fits or sum(length for _, length in listed) != len(rest) or len({name for name, _ in listed}) < len(listed):
        raise _damaged("its parts are not as long as it says")
    parts, at = {}, 0
    for name, length in listed:
        parts[name] = rest[at : at + length]
        at += length
    return parts


def _damaged(reason: str) -> DataError:
    return DataError(f"The set's file is damaged: {one_line(reason)[:120]}.", _HINT)
