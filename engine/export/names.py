"""Names of classes as names of files.

A data set may call a class anything: nothing, ``..``, a sentence with slashes, a device name of another operating
system. Every export with a folder for each class takes the name from here; if each cleaned names in its own way, one of
them would sooner or later write outside its folder, or put two classes into one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

MOST_BYTES = 100
"""The most bytes of a name in UTF-8. File systems allow 255; the rest is for suffixes and temporary names."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(name: str) -> str:
    """Return ``name`` as the name of a file or folder on any common system; never empty, at most 100 bytes.

    Control, invisible and unassigned characters, and those that a system treats specially, become ``_``; so do a
    leading dot or dash and a trailing dot or space. Different names may give the same result: see
    :func:`class_folders`.
    """
    text = unicodedata.normalize("NFC", name)
    text = "".join("_" if _special(character) else character for character in text)
    text = re.sub(r"^[ .~-]|[ .]$", "_", _cut(text.strip(" "), MOST_BYTES))
    if _RESERVED.fullmatch(text):
        text = f"_{text}"
    return text or "unnamed"


def class_folders(names: Sequence[str]) -> list[str]:
    """Return a folder's name for each class: its label with leading zeros, then ``safe_name`` without white space.

    Loaders that number classes in the order of their folders, and lists that separate by blanks, agree with the labels.
    """
    width = max(2, len(str(len(names) - 1)))
    return [f"{label:0{width}d}_" + "_".join(safe_name(name).split()) for label, name in enumerate(names)]


def shown(text: str) -> str:
    """Return ``text`` with a replacement character for each control character or lone surrogate, which pages refuse."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _unprintable(character) else character for character in text)


def _special(character: str) -> bool:
    return character in '/\\<>:"|?*' or unicodedata.category(character)[0] == "C" or character in "\u2028\u2029"


def _unprintable(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs")


def _cut(text: str, most: int) -> str:
    return text.encode("utf-8")[:most].decode("utf-8", errors="ignore")
