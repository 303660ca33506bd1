"""A look into a file whose name does not tell what it is. It costs an opened file, so few get one."""

from __future__ import annotations

import av.error
from PIL import Image

from engine.data.container import UnreadableError, Video


def is_video(path: str) -> bool:
    """Whether FFmpeg finds a video in the file; never raises."""
    try:
        with open(path, "rb") as file, Video(file):
            return True
    except (av.error.FFmpegError, UnreadableError, OSError, ValueError, MemoryError):
        return False


def moves(path: str) -> bool:
    """Whether the image has more than one picture; never raises."""
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # whatever Pillow's readers raise on a damaged file, it is not known to move
        return False
