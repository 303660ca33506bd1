"""Names of classes as names of files.

A data set may call a class anything: nothing, ``..``, a sentence with slashes, a device name of another operating
system. Every export with a folder for each class takes the name from here; if each cleaned names in its own way, one of
them would sooner or later write outside its folder, or put two classes into one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

MOST_BYTES = 100
"""The most bytes of a name in UTF-8. File systems allow 255; the rest is for suffixes and temporary names."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(name: str) -> str:
    """Return ``name`` as the name of a file or folder on any common system; never empty, at most 100 bytes.

    Control, invisible and unassigned characters, and those that a system treats specially, become ``_``; so do a
    leading dot or dash and a trailing dot or space. Different names may give the same result: see :func:`safe_names`.
    """
    text = unicodedata.normalize("NFC", name)
    text = "".join("_" if _special(character) else character for character in text)
    text = re.sub(r"^[ .~-]|[ .]$", "_", _cut(text.strip(" "), MOST_BYTES))
    if _RESERVED.fullmatch(text):
        text = f"_{text}"
    return text or "unnamed"


def safe_names(names: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Return ``safe_name`` of each of ``names``, made different even on systems that ignore case.

    ``taken`` are names that must not occur. A repeated name gets ``-2``, ``-3``, ... in the order of ``names``.
    """
    used = {_folded(name) for name in taken}
    unique = []
    for name in map(safe_name, names):
        candidate, number = name, 1
        while _folded(candidate) in used:
            number += 1
            candidate = f"{_cut(name, MOST_BYTES - 8)}-{number}"
        used.add(_folded(candidate))
        unique.append(candidate)
    return unique


def shown(text: str) -> str:
    """Return ``text`` with a replacement character for each control character or lone surrogate, which pages refuse."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _unprintable(character) else character for character in text)


def _special(character: str) -> bool:
    return character in '/\\<>:"|?*' or unicodedata.category(character)[0] == "C" or character in "\u2028\u2029"


def _unprintable(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs")


def _cut(text: str, most: int) -> str:
    return text.encode("utf-8")[:most].decode("utf-8", errors="ignore")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
