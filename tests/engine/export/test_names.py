"""If these fail, a class name from a data set writes outside the export's folder, or one class replaces another."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.export.names import MOST_BYTES, safe_name, safe_names

HOSTILE = [
    "", ".", "..", "../../etc/passwd", "/", "a/b", "a\\b", "\0", "nul\0byte", "CON", "nul.txt", "lpt1", " ", "a.", "a ",
    "-rf", "~", ".hidden", "x" * 300, "é" * 300, "\ud800", "line\nbreak", "\x1b[2J", "\u202egnp", "A", "a", "ａ", "é",
    "e\u0301", "index.json", "Index.JSON", "a-2", "a-2", "a",
]  # fmt: skip


def good(name: str) -> bool:
    """What every common file system takes as one name, spelled out independently of the code under test."""
    reserved = {"CON", "PRN", "AUX", "NUL", *(f"{kind}{n}" for kind in ("COM", "LPT") for n in range(10))}
    return (
        0 < len(name.encode("utf-8")) <= 200
        and not set(name) & set('/\\<>:"|?*')
        and not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Cn", "Co") for character in name)
        and name[0] not in ".-~ "
        and name[-1] not in ". "
        and name.split(".")[0].upper() not in reserved
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_become_one_harmless_name(name: str) -> None:
    assert good(safe_name(name)), safe_name(name)


@given(st.lists(st.text(alphabet=st.characters(), max_size=120), max_size=12))
def test_any_names_stay_apart_on_any_system(names: list[str]) -> None:
    safe = safe_names(names, taken=["index.json"])
    assert all(map(good, safe))
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in [*safe, "index.json"]}) == len(names) + 1


def test_plain_names_are_kept() -> None:
    names = ["ApplyEyeMakeup", "brush hair", "Пение", "射箭", "sit-up (2)"]
    assert safe_names(names) == names


def test_collisions_are_numbered_in_order() -> None:
    assert safe_names(["a/b", "a:b", "A_B", "a_b-2"]) == ["a_b", "a_b-2", "A_B-3", "a_b-2-2"]
    long = safe_names(["y" * 300, "y" * 301])
    assert len(set(long)) == 2 and all(len(name) <= MOST_BYTES for name in long)
