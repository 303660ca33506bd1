"""Ways to store a set in presets: one that cannot be must be refused before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import features

from engine.config import load_preset
from engine.config.kinds import KINDS
from engine.config.load import override
from engine.config.storage import QUALITIES, impossible
from engine.errors import PresetError, UsageError
from engine.synthetic import Storage

WAYS = st.builds(
    lambda *parts: "".join(parts),
    st.sampled_from(["float32", "float16", "uint8", "h264", "jpeg", "av1", "avif", "mp4", ""]),
    st.sampled_from(["", "-0", "-1", "-51", "-52", "-95", "-96", "-100", "-101", "-x"]),
    st.sampled_from(["", "@half", "@quarter", "@7", "@8", "@64", "@"]),
    st.sampled_from(["", ":repeat4", ":linear1", ":repeat0", ":444", ":repeat4:444", ":420"]),
)


@given(st.lists(WAYS, min_size=1, max_size=3).map("+".join), st.sampled_from(["static-dynamic", "pixels", "coreset"]))
def test_what_presets_take_is_what_can_be_stored(how: str, kind: str) -> None:
    """A run would train for hours and fail at its first file, or a good way would be refused."""
    try:
        Storage.parse(how).check_fits(KINDS[kind])
        stores = True
    except UsageError:
        stores = False
    if features.check("avif") or "av" not in how:
        same = len(set(how.split("+"))) < len(how.split("+"))  # two that are alike are one, which presets do not take
        assert stores == (impossible(how, KINDS[kind]) == "") or same


def test_qualities_are_those_of_the_codecs() -> None:
    """The hint would name numbers that are refused."""
    for name, (least, most) in QUALITIES.items():
        if features.check("avif") or not name.startswith("av"):
            assert Storage.parse(f"{name}-{least}+{name}-{most}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["storage.how=mp4"], "none of"),
        (["storage.how=h264-99"], "h264-0 to -51"),
        (["storage.how=h264-35/top3x4"], "none of"),
        (["storage.how=jpeg-1+h264-2+uint8"], "two"),
        (["synthetic.kind=pixels", "storage.how=jpeg-80+h264-28"], "only one"),
        (["synthetic.kind=full", "storage.how=uint8"], "stores none"),
        (["storage.learn_through=true", "storage.how=float32"], "loses"),
        (["storage.learn_through=true", "storage.how=float16"], "loses"),
        (["storage.learn_through=true", "storage.how=h264-35", "synthetic.kind=coreset"], "learned"),
        (["storage.every=4", "storage.how=h264-35"], "learn_through"),
        (["storage.every=0", "storage.how=h264-35", "storage.learn_through=true"], "storage.every"),
    ],
)
def test_keys_that_make_no_sense_together_are_refused(changes: list[str], said: str) -> None:
    """They would be read by nobody, and the run be taken for one that they describe."""
    with pytest.raises(PresetError) as caught:
        load_preset("default", changes)
    assert said in caught.value.problem + caught.value.hint and "\n" not in caught.value.problem


@pytest.mark.parametrize(
    "changes", [{"storage.budget": "2kB"}, {"synthetic.kind": "coreset"}, {"synthetic.kind": "full"}]
)
def test_a_recommended_storage_gives_way_to_a_budget_and_to_real_clips(changes: dict[str, str], tmp_path: Path) -> None:
    """`default` says how its set is stored: that must not refuse `--budget`, nor make a coreset of lossy clips."""
    learned = load_preset("default")
    assert learned.storage.how == "av1-10+h264-43@half"
    assert load_preset("default", changes).storage.how == override(learned, changes, "x").storage.how == "float32"
    table, key = next(iter(changes)).split(".")
    (tmp_path / "mine.toml").write_text(f'extends = "default"\n[{table}]\n{key} = "{next(iter(changes.values()))}"\n')
    (tmp_path / "deeper.toml").write_text('extends = "./mine.toml"\n[run]\nseed = 3\n')
    for name in ("mine", "deeper"):
        assert load_preset(tmp_path / f"{name}.toml").storage.how == "float32"


@pytest.mark.parametrize(
    ("kind", "how"), [("pixels", "h264-30"), ("static-only", "jpeg-50"), ("low-rank", "jpeg-50+h264-30")]
)
def test_a_set_of_one_sort_keeps_its_own_of_two_ways(kind: str, how: str) -> None:
    """`--preset demo --set synthetic.kind=pixels` would be refused for a storage that nobody named."""
    two = load_preset("default", {"storage.how": "jpeg-50+h264-30"})
    assert override(two, {"synthetic.kind": kind}, "x").storage.how == how
    whole = load_preset("demo", {"synthetic.kind": kind}).storage.how
    assert whole == "h264-35" if kind == "pixels" else whole in load_preset("demo").storage.how


@pytest.mark.parametrize(
    ("two", "clips"),
    [("av1-10+h264-43@half", "h264-35"), ("av1-10+h264-43:repeat4", "h264-35"), ("av1-10+h264-43", "h264-43")],
)
def test_whole_clips_are_not_stored_as_a_small_dynamic_memory_is(two: str, clips: str) -> None:
    """Half the side takes little of a faint motion, and much of a clip that was learned at its full size."""
    pixels = {"synthetic.kind": "pixels"}
    assert override(load_preset("default", {"storage.how": two}), pixels, "x").storage.how == clips
    assert load_preset("default", pixels | {"storage.how": "h264-43@half"}).storage.how == "h264-43@half"


def test_a_storage_that_is_named_beside_a_kind_stays() -> None:
    """Compressed real clips are a set that somebody may ask for."""
    changes = {"synthetic.kind": "coreset", "storage.how": "h264-28"}
    assert load_preset("default", changes).storage.how == "h264-28"
