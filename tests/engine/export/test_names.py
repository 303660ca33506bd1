"""If these fail, a class name from a data set writes outside the export's folder, or one class replaces another."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.export.names import MOST_BYTES, class_folders, safe_name

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


@given(st.lists(st.text(alphabet=st.characters(), max_size=120), min_size=1, max_size=12))
def test_folders_of_any_classes_stay_apart_and_in_order_on_any_system(names: list[str]) -> None:
    """Loaders number classes in the order of their folders, and lists of files separate by blanks."""
    folders = class_folders(names)
    assert all(map(good, folders)) and folders == sorted(folders)
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in folders}) == len(names)
    assert not any(character.isspace() for folder in folders for character in folder)


def test_labels_have_as_many_digits_as_the_largest() -> None:
    assert class_folders(["brush hair", "Пение", "a/b"]) == ["00_brush_hair", "01_Пение", "02_a_b"]
    many = class_folders([f"zebra {number}" for number in range(101)])
    assert many[9] == "009_zebra_9" and many[100] == "100_zebra_100" and many == sorted(many)
    assert len(class_folders(["y" * 300])[0]) <= MOST_BYTES + 3
