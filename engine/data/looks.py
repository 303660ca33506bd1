"""A look into a file for what its name does not tell. It costs an opened file, so few get one."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image

ORIENTATION = 0x112
"""The tag of TIFF and Exif."""

LOOKED_AT = 4096

VIDEO_STARTS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"FLV\1",
    b"0&\xb2u\x8ef\xcf\x11",  # ASF, WMV
    b"\0\0\1\xba",  # MPEG program stream, Video CD taken off its sectors
    b"\0\0\1\xb3",  # MPEG-1 and MPEG-2 alone
    b"\0\0\0\1",  # H.264 and HEVC alone
    b"\0\0\1\x67",
    b".RMF",
    b"DKIF",  # IVF
    b"YUV4MPEG2",
    b"\x06\x0e+4",  # MXF
    b"nut/multimedia container",
)

BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
"""With which MP4 and its kin begin."""

IMAGE_BRANDS = frozenset({b"heic", b"heix", b"mif1", b"avif"})
"""Kin of MP4 that are photos."""

OGG_VIDEO = (b"\x80theora", b"OVP80", b"BBCD\0", b"\1video")


def is_video(path: str) -> bool:
    """Return whether the file begins as one of the usual containers of video does; never raises."""
    try:
        with open(path, "rb") as file:
            head = file.read(LOOKED_AT)
    except (OSError, ValueError):
        return False
    if head[4:8] in BOXES:
        return head[8:12] not in IMAGE_BRANDS
    if head[:4] == b"RIFF":
        return head[8:12] in (b"AVI ", b"CDXA")  # the latter is a Video CD sector by sector
    if head[:4] == b"OggS":
        return any(mark in head for mark in OGG_VIDEO)
    broadcast = any(head[at : at + 1 + 2 * size : size] == b"GGG" for at, size in ((0, 188), (4, 192)))
    return broadcast or head.startswith(VIDEO_STARTS)


def moves(path: str) -> bool:
    """Return whether the image has more than one picture; never raises."""
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # whatever Pillow's readers raise on a damaged file, it is not known to move
        return False


def exif_orientation(file: BinaryIO) -> int | None:
    """Return the Exif orientation of a photo, 1 to 8; None where it says nothing that can be read."""
    file.seek(0)
    try:
        with Image.open(file) as image:
            value = image.getexif().get(ORIENTATION)
    except Exception:  # as in moves
        return None
    return value if isinstance(value, int) and 1 <= value <= 8 else None
