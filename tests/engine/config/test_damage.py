"""Preset files that nobody meant: what a user loses here is a command that hangs, fills the memory, or ends in a
traceback where two lines would say what to mend."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import load_preset, preset_names, read_preset, to_toml
from engine.config.load import MOST_FILES, MOST_LEVELS
from engine.errors import PresetError


def refused(call: Callable[[], object], *words: str) -> None:
    """Two lines that name what is wrong."""
    with pytest.raises(PresetError) as caught:
        call()
    said = caught.value.problem + caught.value.hint
    assert all(word in said for word in words), said
    assert len(said) < 2000


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def ascii_start(value: object) -> str:
    return ascii(str(value)[:12])


# --- files that are none ----------------------------------------------------------------------------------------------


def test_what_is_no_file_to_read_is_refused_at_once(tmp_path: Path) -> None:
    """A named pipe has no end of waiting, /dev/zero no end at all."""
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "zeros.toml").symlink_to("/dev/zero")
    with open(tmp_path / "huge.toml", "wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    kinds = {"pipe": "no regular file", "folder": "is a folder", "zeros": "no regular file", "huge": "longer than"}
    for name, word in (kinds | {"loop": "cannot be read", "gone": "cannot be read"}).items():
        path = tmp_path / f"{name}.toml"
        refused(lambda path=path: load_preset(path), str(path), word)
        refused(lambda path=path: read_preset(path), str(path), word)
        refused(lambda name=name: load_preset(write(tmp_path / "own.toml", f'extends = "{name}.toml"')), word)


@pytest.mark.parametrize(
    "name", ["a\0b", "a\0b.toml", "./a\0b", "x" * 5000, "x" * 5000 + ".toml", "a/" * 3000], ids=ascii_start
)
def test_names_that_no_disk_can_hold(tmp_path: Path, name: str) -> None:
    """A file that was cut by a crash ends in null characters."""
    refused(lambda: load_preset(name))
    written = name.replace("\0", "\\u0000")
    refused(lambda: load_preset(write(tmp_path / "own.toml", f'extends = "{written}"')))
    refused(lambda: load_preset(write(tmp_path / "own.toml", f'extends = ["default", "{written}"]')))


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """Editors on Windows write one; nothing shows it to the user."""
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf" + to_toml(load_preset("demo")).encode())
    assert load_preset(path) == read_preset(path) == load_preset("demo")
    (tmp_path / "utf16.toml").write_bytes('title = "t"'.encode("utf-16"))
    refused(lambda: load_preset(tmp_path / "utf16.toml"), "UTF-8")


# --- nesting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [70, 400, 5000, 200_000])
@pytest.mark.parametrize(
    "opening", ["title = {d}", "[{k}]", "{k} = 1", "dynamic = {{ {k} = 1 }}", '[["{k}"]]\n{k} = 1']
)
def test_deep_nesting_is_refused_at_once(tmp_path: Path, opening: str, depth: int) -> None:
    """The TOML reader fails on nested lists, and takes time with the square of a key's length."""
    text = opening.format(d="[" * depth + "]" * depth, k=".".join(["a"] * depth))
    refused(lambda: load_preset(write(tmp_path / "deep.toml", text)), "deep.toml")


@pytest.mark.parametrize("depth", [70, 5000, 40_000])
def test_deep_nesting_on_the_command_line_is_refused(depth: int) -> None:
    """A script that quotes wrongly makes such values."""
    refused(lambda: load_preset("default", [f"dynamic.steps={'[' * depth}{']' * depth}"]), "dynamic.steps")
    refused(lambda: load_preset("default", ["dynamic.steps" + ".a" * depth + "=1"]), "dynamic.steps")
    refused(lambda: load_preset("default", ["x={" + ".".join("a" * depth) + "=1}"]), "x")


# --- extends ----------------------------------------------------------------------------------------------------------


def test_a_diamond_is_read_once(tmp_path: Path) -> None:
    """26 levels of two files that extend both files below are 52 files, not 2**26 readings."""
    write(tmp_path / "left0.toml", "[dynamic]\nsteps = 7\n")
    write(tmp_path / "right0.toml", "[static]\nsteps = 8\n")
    for level in range(1, 27):
        for side in ("left", "right"):
            names = f'["left{level - 1}.toml", "right{level - 1}.toml"]'
            write(tmp_path / f"{side}{level}.toml", f"extends = {names}\n[run]\nseed = {level}\n")
    found = load_preset(tmp_path / "right26.toml")
    assert (found.dynamic.steps, found.static.steps, found.run.seed) == (7, 8, 26)


def test_what_is_extended_twice_counts_where_it_stands_last(tmp_path: Path) -> None:
    """Reading a file once must not change whose value wins: later names are laid over earlier ones."""
    write(tmp_path / "a.toml", "[run]\nseed = 1\n")
    write(tmp_path / "b.toml", 'extends = "a.toml"\n[run]\nseed = 2\n')
    own = write(tmp_path / "own.toml", 'extends = ["a.toml", "b.toml", "a.toml"]')
    assert load_preset(own).run.seed == 1


@pytest.mark.parametrize("levels", [MOST_LEVELS + 2, 1500])
def test_long_chains_are_refused(tmp_path: Path, levels: int) -> None:
    """A generator of presets that extends its last output, again and again."""
    write(tmp_path / "0.toml", "[run]\nseed = 1\n")
    for number in range(1, levels):
        write(tmp_path / f"{number}.toml", f'extends = "{number - 1}.toml"')
    assert load_preset(tmp_path / f"{MOST_LEVELS}.toml").run.seed == 1
    refused(lambda: load_preset(tmp_path / f"{levels - 1}.toml"), f"{levels - 1}.toml", "levels")


def test_links_do_not_hide_a_circle(tmp_path: Path) -> None:
    """A folder that is linked into itself gives the same file endlessly many names."""
    for name in ("d", "e"):
        (tmp_path / name).symlink_to(tmp_path)
    refused(lambda: load_preset(write(tmp_path / "a.toml", 'extends = "d/a.toml"')))
    refused(lambda: load_preset(write(tmp_path / "a.toml", 'extends = ["d/a.toml", "e/a.toml"]')))


def test_endless_lists_of_parents_are_refused(tmp_path: Path) -> None:
    """Each of them would be laid over the others."""
    names = ", ".join(['"default"'] * (MOST_FILES + 1))
    refused(lambda: load_preset(write(tmp_path / "a.toml", f"extends = [{names}]")), "a.toml")


def test_a_circle_below_the_first_file_is_named(tmp_path: Path) -> None:
    """The message shows the circle alone, and all of it."""
    write(tmp_path / "a.toml", 'extends = "b.toml"')
    write(tmp_path / "b.toml", 'extends = "c.toml"')
    write(tmp_path / "c.toml", 'extends = "b.toml"')
    with pytest.raises(PresetError) as caught:
        load_preset(tmp_path / "a.toml")
    assert caught.value.problem.count("b.toml") == 2 and "a.toml" not in caught.value.problem


# --- anything ---------------------------------------------------------------------------------------------------------

PIECES = ["extends", "title", "dynamic", "a", ".", "=", "[", "]", "{", "}", '"', "'", ",", "\n", "1", "-", "nan", "inf"]
PIECES += [
    "true",
    "1979-05-27T07:32:00Z",
    "[[",
    "]]",
    "1e999",
    "\\u0000",
    "\0",
    "\ufeff",
    "demo",
    "#",
    " ",
    "é",
    "0x",
    '"""',
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=60))
def test_any_text_is_a_preset_or_two_lines(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever an editor, a merge or a disk left in the file."""
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    try:
        preset = load_preset(path)
    except PresetError as error:
        assert error.problem and error.hint
        return
    assert tomllib.loads(to_toml(preset))


@given(st.text(max_size=40))
def test_any_name_is_a_preset_or_two_lines(name: str) -> None:
    """What a shell variable held."""
    if name not in preset_names():
        with pytest.raises(PresetError):
            load_preset(name)
