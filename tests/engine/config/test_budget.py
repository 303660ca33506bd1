"""Budgets: a size that is read as another one is a set that nobody asked for, found out at the end of a run."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import load_preset, to_toml
from engine.config.budget import FIXED, LADDER, coarser, fixed, parse_size, rung_named
from engine.config.load import validate
from engine.config.storage import impossible
from engine.errors import PresetError

UNITS = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "KiB": 1024, "MiB": 1024**2}


@given(st.integers(1, 10**6), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_whole_sizes_are_their_number_times_their_unit(number: int, unit: str, space: str) -> None:
    """2kB that were 2,048 bytes would make sets that no comparison at equal bytes can use."""
    if number * UNITS[unit] <= 10**12:
        assert parse_size(f"{number}{space}{unit}") == number * UNITS[unit]


@given(st.integers(0, 10**4), st.integers(0, 999), st.sampled_from(["kB", "MB", "KiB"]))
def test_sizes_with_a_point_are_exact_or_refused(whole: int, thousandths: int, unit: str) -> None:
    """1.1kB as a float is a byte less."""
    size = (whole + Fraction(thousandths, 1000)) * UNITS[unit]
    text = f"{whole}.{thousandths:03}{unit}"
    if size.denominator == 1 and size >= 1:
        assert parse_size(text) == size
    else:
        with pytest.raises(ValueError, match="size"):
            parse_size(text)


@pytest.mark.parametrize(
    "text", ["", "2", "0B", "-1kB", "2GB", "kB", "2 k B", "1e3B", "1.5B", "9999999999999B", "２kB"]
)
def test_what_is_no_size_is_refused_with_its_key(text: str) -> None:
    """A typing error in a budget must not start a run."""
    with pytest.raises(ValueError, match="size"):
        parse_size(text)
    with pytest.raises(PresetError, match=r"storage\.budget") as refused:
        load_preset("default", {"storage.budget": text})
    assert "\n" not in refused.value.problem and "500B" in refused.value.hint


def test_rungs_are_storages_of_learned_clips_with_names_of_their_own() -> None:
    """A rung that the schema refused would end the run that had chosen it."""
    titles = [rung.title for rung in LADDER]
    assert len(set(titles)) == len(titles) and FIXED in titles
    for rung in LADDER:
        assert rung_named(rung.title) is rung
        number = 3 * (rung.formation or 1) ** 2
        preset = load_preset("default", {"storage.budget": "2kB", "synthetic.kind": "pixels", **rung.values(number, 8)})
        assert not impossible(rung.how, preset.kind) and not impossible(rung.storage, preset.kind)
        assert (
            preset.synthetic.n_syn == rung.frames and preset.synthetic.ipc == number and "budget" not in preset.stages
        )
        assert preset.synthetic.formation == rung.formation


def test_rungs_of_earlier_versions_are_read_and_not_tried() -> None:
    """A run that had chosen one could not go on."""
    for title, how in (("few-frames h264-28", "h264-28"), ("stills-half h264-43", "h264-43@half")):
        rung = rung_named(title)
        assert rung is not None and rung.how == how and rung not in LADDER
        spent = {"storage.budget": "2kB", "synthetic.kind": "pixels", **rung.values(3, 8)}
        assert load_preset("default", spent).storage.rung == title


def test_the_fixed_rung_is_the_named_one_or_the_next_coarser_or_the_last_finer() -> None:
    """Where nothing tells which is best, two runs must take the same."""
    place = next(number for number, rung in enumerate(LADDER) if rung.title == FIXED)
    assert fixed(LADDER).title == FIXED
    assert fixed([*LADDER[:place], *LADDER[place + 2 :]]) == LADDER[place + 2]
    assert fixed(LADDER[:place]) == LADDER[place - 1]


def test_coarser_qualities_go_down_to_the_codec_s_end() -> None:
    """A step in the wrong direction would make the file larger each time, and never end."""
    assert coarser("h264-28@half") == "h264-29@half" and coarser("av1-10:444") == "av1-9:444"
    assert coarser("h264-51") is None and coarser("av1-0@half") is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"synthetic.ipc": 5}, "synthetic.ipc = 5"),
        ({"storage.how": "h264-35"}, "storage.how = h264-35"),
        ({"synthetic.labels": "learned", "dynamic.objective": "frepo"}, "synthetic.labels = hard"),
    ],
)
def test_what_a_budget_chooses_cannot_be_named_too(changes: dict[str, object], named: str) -> None:
    """One of the two would be passed over, and the user would not know which."""
    with pytest.raises(PresetError) as refused:
        load_preset("default", {"storage.budget": "2kB", "synthetic.kind": "pixels", **changes})
    assert named in refused.value.problem and "\n" not in refused.value.problem + refused.value.hint


def test_a_budget_makes_learned_clips_from_real_ones_of_any_preset() -> None:
    """Bytes can be told of real clips before anything is learned, and of noise not."""
    preset = load_preset("default", {"storage.budget": "2kB", "synthetic.dynamic_size": 8, "synthetic.n_syn": 4})
    assert preset.synthetic.kind == "pixels" and preset.dynamic.init == "residual" and preset.synthetic.n_syn is None
    assert preset.stages == ("prepare", "budget", "dynamic", "evaluate")


def test_a_rung_is_read_back_as_it_was_written_and_refused_if_it_lies() -> None:
    """A run goes on from the preset in its folder; a name that belongs to other values would be believed."""
    spent = load_preset(
        "default",
        {"storage.budget": "2kB", "synthetic.kind": "pixels", **rung_named(FIXED).values(7, 8)},  # type: ignore[union-attr]
    )
    import tomllib

    assert validate(tomllib.loads(to_toml(spent)), "again") == spent
    for key, value in (("storage.rung", "clips of mine"), ("storage.how", "h264-20"), ("synthetic.kind", "coreset")):
        with pytest.raises(PresetError, match=r"storage\.rung"):
            load_preset(
                "default",
                {"storage.budget": "2kB", "synthetic.kind": "pixels"} | rung_named(FIXED).values(7, 8) | {key: value},
            )  # type: ignore[union-attr]
    with pytest.raises(PresetError, match=r"storage\.budget"):
        load_preset("default", {"storage.rung": FIXED})
