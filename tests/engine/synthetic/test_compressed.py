"""Sets in compressed files: what a user loses here is a fair comparison, or a set that only exists in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import features

from engine.config import kinds
from engine.data.batches import RealClips
from engine.errors import DataError, UsageError
from engine.models.hallucinator import Hallucinator
from engine.synthetic import (
    PRECISIONS,
    Coreset,
    Pixels,
    Provenance,
    StaticImages,
    StillVideo,
    SyntheticSet,
    Temporal,
    load_set,
    load_synthetic,
    to_bytes,
)
from engine.synthetic.compressed import clip_bytes, compressed_clips, decode_set, encode_set
from engine.synthetic.container import pack, unpack
from engine.synthetic.formation import Formation
from engine.synthetic.low_rank import LowRank
from engine.synthetic.static_dynamic import Disentangled
from engine.synthetic.storage import Storage
from engine.synthetic.streams import Coded, Coding
from tests.tiny import make_real, make_spec, make_static_dynamic, normalised

SPEC = make_spec(("a", "Bär"), 4, 16, 18)


def sets() -> dict[str, SyntheticSet]:
    """One of every kind, and with what else may be stored."""
    rng = torch.Generator().manual_seed(0)
    less = Temporal(4, 2, 1, "linear")

    def smooth(*shape: int) -> torch.Tensor:
        waves = torch.linspace(-3, 3, shape[-1]).sin() + torch.linspace(0, 4, shape[-2]).cos().unsqueeze(1)
        return waves.expand(2, *shape) + torch.randn(2, *shape[:-2], 1, 1, generator=rng)

    labels = torch.randn(2, 2, 2, generator=rng)
    low_rank = LowRank(
        SPEC, 1, smooth(1, 3, 16, 18), smooth(1, 2, 4), smooth(1, 2, 1, 16, 18), Hallucinator.identity(SPEC.std)
    )
    return {
        "coreset": Coreset(SPEC, clips_of(make_real(SPEC, (2, 2)), [[0, 1], [0, 1]])),
        "pixels": Pixels(SPEC, smooth(2, 4, 3, 16, 18), soft_labels=labels),
        "pixels-formation": Pixels(SPEC, smooth(1, 4, 3, 16, 18), formation=Formation(SPEC, 2)),
        "pixels-temporal": Pixels(SPEC, smooth(1, 2, 3, 16, 18), temporal=less),
        "still-video": StillVideo(SPEC, 2, smooth(4, 3, 16, 18), soft_labels=labels),
        "static-images": StaticImages(SPEC, smooth(2, 3, 16, 18)),
        "static-dynamic": make_static_dynamic(SPEC, 2, 2, 1),
        "static-dynamic-all": make_static_dynamic(SPEC, 2, 1, 2, temporal=less, side=9, hallucinators=2, soft=True),
        "per-class": make_static_dynamic(SPEC, 1, 2, 1, temporal=less, per_class=True),
        "dynamic-only": make_static_dynamic(SPEC, 2, 0, 2),
        "low-rank": low_rank,
    }


def clips_of(real: RealClips, places: list[list[int]]) -> torch.Tensor:
    chosen = torch.stack([real.of_class(label)[own] for label, own in enumerate(places)])
    return real.clips(chosen.flatten()).unflatten(0, tuple(chosen.shape)).transpose(2, 3).contiguous()


KINDS = sorted(sets())
WAYS = ["float32", "float16", "uint8", "h264-10", "h264-30@8", "jpeg-80", "uint8+h264-20", "jpeg-80+h264-0"]
WAYS += [
    "uint8@half",
    "h264-30@quarter",
    "float16+uint8",
    "h264-30@half:repeat2",
    *(["av1-40"] if features.check("avif") else []),
]


@pytest.fixture(params=KINDS)
def synthetic(request: pytest.FixtureRequest) -> SyntheticSet:
    return sets()[request.param]


def fitting(synthetic: SyntheticSet) -> list[str]:
    """Ways for one memory, and for sets with stills beside what moves those for two as well."""
    return [way for way in WAYS if "+" not in way or isinstance(synthetic, Disentangled)]


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*WAYS, "h264-35@48", "float16+h264-30", "h264-35:linear4:444/top3x4"])
def test_a_storage_is_named_as_it_is_parsed(text: str) -> None:
    """The name in a table makes the same file again."""
    assert str(Storage.parse(text)) == text


def test_stills_are_named_before_clips() -> None:
    """Not the other way round: a still in H.264 and a clip in JPEGs take several times the bytes."""
    how = Storage.parse("jpeg-80+h264-30")
    kind = kinds.KINDS["static-dynamic"]
    assert str(how.of(kind.part("static"))) == "jpeg-80" and str(how.of(kind.part("dynamic"))) == "h264-30"


@pytest.mark.parametrize(
    "text", ["", "+", "mp4", "h264", "h264-23+", "uint8+uint8+uint8", "bad\x1b[31m\n", "uint8/top0"]
)
def test_nonsense_is_refused_with_a_hint(text: str) -> None:
    """One plain line that says what may be written."""
    with pytest.raises(UsageError) as caught:
        Storage.parse(text)
    assert caught.value.hint and not {"\n", "\x1b"} & set(caught.value.problem + caught.value.hint)


def test_two_ways_for_one_memory_are_refused() -> None:
    """Of a coreset, the one for stills would be read by nobody."""
    with pytest.raises(UsageError, match="only one"):
        encode_set(sets()["coreset"], "jpeg-80+h264-23")


# --- sets come back --------------------------------------------------------------------------------------------------


def test_every_set_comes_back_as_what_it_was(synthetic: SyntheticSet) -> None:
    """Kind, classes, pairing, time and labels are exact; memories keep their shape, and train.

    Of hallucinators and coefficients float16 is left, which rounds by a part of 2,048.
    """
    for way in fitting(synthetic):
        back = encode_set(synthetic, way).decode()
        assert (back.kind, back.spec, back.ipc, back.variants) == (
            synthetic.kind,
            synthetic.spec,
            synthetic.ipc,
            synthetic.variants,
        )
        assert back.temporal == synthetic.temporal
        ours, theirs = synthetic.tensors(), back.tensors()
        assert {name: tensor.shape for name, tensor in ours.items()} == {
            n: tensor.shape for n, tensor in theirs.items()
        }
        assert all(tensor.dtype == torch.float32 for tensor in theirs.values())
        assert torch.equal(ours.get("soft_labels", torch.zeros(0)), theirs.get("soft_labels", torch.zeros(0)))
        for name in (name for name in ours if not synthetic.description.part(name).channels):
            off = (ours[name] - theirs[name]).abs()
            assert (off <= ours[name].abs() / 2048 + 2**-25).all(), name
        clips, targets = back.expand()
        assert clips.shape == synthetic.expand()[0].shape and len(targets) == len(clips)
        drawn = back.sample(torch.Generator().manual_seed(1))[0]
        weight = torch.ones(drawn[0].numel(), 2, requires_grad=True)
        torch.nn.functional.cross_entropy(drawn.flatten(1) @ weight, torch.zeros(len(drawn)).long()).backward()
        assert weight.grad is not None and bool(weight.grad.isfinite().all())


def test_hallucinators_take_half_as_much_beside_memories_of_256_levels() -> None:
    """By the lengths of parts; beside float values, or beyond what float16 holds, they are exact, as in older files."""
    learned = sets()["static-dynamic"]
    number = learned.tensors()["hallucinator.weight"].numel()
    for way, size in (("av1-10+h264-35", 2), ("h264-35", 2), ("avif-10+float16", 4)):
        blob = encode_set(learned, way).blob
        head, parts = unpack(blob)
        assert len(parts["hallucinator.weight"]) == size * number
        older = {**parts, **{name: floats(learned, name) for name in parts if name.startswith("hallucinator.")}}
        back = decode_set(pack({name: value for name, value in head.items() if name != "parts"}, older)).tensors()
        assert torch.equal(back["hallucinator.weight"], learned.tensors()["hallucinator.weight"])
    with torch.no_grad():
        learned.tensors()["hallucinator.bias"].fill_(1e6)
    back = encode_set(learned, "h264-35").decode().tensors()
    assert torch.equal(back["hallucinator.bias"], learned.tensors()["hallucinator.bias"])
    assert (
        len(unpack(encode_set(learned, "h264-35").blob)[1]["hallucinator.bias"])
        == 4 * back["hallucinator.bias"].numel()
    )


def floats(learned: SyntheticSet, name: str) -> bytes:
    """A tensor as older files have it."""
    return learned.tensors()[name].detach().numpy().astype("<f4").tobytes()


@pytest.mark.parametrize("precision", ["float32", "float16", "uint8"])
def test_numbers_are_stored_in_the_set_file(tmp_path: Path, synthetic: SyntheticSet, precision: str) -> None:
    """Byte for byte: a table's bytes at a precision are those of the file that `vdtui export` writes."""
    stored = encode_set(synthetic, precision)
    assert stored.blob == to_bytes(synthetic, Provenance(), precision)
    (tmp_path / "s.safetensors").write_bytes(stored.blob)
    loaded = load_synthetic(tmp_path / "s.safetensors").tensors()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in stored.decode().tensors().items())


def test_learned_memories_keep_256_levels_each() -> None:
    """Values beyond those of pixels survive: without loss in the codec, none is off by more than half of a level."""
    synthetic = sets()["static-dynamic"]
    back = encode_set(synthetic, "jpeg-80+h264-0").decode().tensors()["dynamic"].double()
    memory = synthetic.tensors()["dynamic"].double()
    for own, shown in zip(memory.flatten(0, 1), back.flatten(0, 1), strict=True):
        level = (own.max() - own.min()) / 255
        assert (own - shown).abs().max() <= 0.501 * level


def test_a_constant_memory_comes_back() -> None:
    """Its range is nothing: dividing by that would fill a set with NaN."""
    still = StillVideo(SPEC, 1, torch.full((2, 1, 3, 16, 18), 0.25))
    back = encode_set(still, "h264-0").decode().tensors()["static"]
    # A level of 2 / 255 of each channel: what 8-bit chroma rounds.
    assert (back - 0.25).abs().max() < 0.05


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_no_level_stands_for_are_refused(value: float) -> None:
    """When the set is stored, where it can still be mended, and not on the day when it is read."""
    still = StillVideo(SPEC, 1, torch.zeros(2, 1, 3, 16, 18))
    still.static[1, 0, 2, 3, 4] = value
    with pytest.raises(DataError, match="finite"):
        encode_set(still, "jpeg-80")


def test_a_coreset_shows_what_its_codec_decodes() -> None:
    """Nothing is trained on that is not in the file: clips are the codec's pixels, normalised, and none other."""
    real = make_real(SPEC, (2, 2))
    synthetic = Coreset(SPEC, clips_of(real, [[1, 0], [0, 1]]))
    pixels = [real.view.clips(real.of_class(label)[place].numpy()) for label, place in [(0, 1), (0, 0), (1, 0), (1, 1)]]
    coding = Coding.parse("h264-30")
    shown = coding.decode(coding.encode(np.stack(pixels)), (4, *pixels[0].shape))
    clips, labels = encode_set(synthetic, "h264-30").decode().expand()
    assert np.abs(clips.numpy() - normalised(shown, SPEC)).max() < 1e-5
    assert labels.tolist() == [0, 0, 1, 1]


def test_colours_in_the_range_of_pixels_need_no_range() -> None:
    """Eight bytes of every clip would be spent on what a pixel is; a set that leaves the range keeps its values."""
    spec, rng = SPEC, torch.Generator().manual_seed(3)
    colours = torch.rand(2, 1, 4, 3, 16, 18, generator=rng)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    inside = Pixels(spec, (colours - mean) / std)
    beyond = Pixels(spec, (1.4 * colours - 0.2 - mean) / std)
    parts = [list(unpack(encode_set(synthetic, "uint8@256").blob)[1]) for synthetic in (inside, beyond)]
    assert parts == [["pixels"], ["pixels", "pixels.range"]]
    for synthetic, level in ((inside, 1 / 255), (beyond, 1.4 / 255)):
        back = encode_set(synthetic, "uint8@256").decode().tensors()["pixels"]
        assert ((back - synthetic.pixels) * std).abs().max() <= 0.51 * level


def test_soft_labels_are_packed_where_that_is_asked_for() -> None:
    """204 bytes a clip of 51 classes are as much as a small clip; the likeliest ones in a few bits are not."""
    spec = make_spec([str(number) for number in range(51)], 2, 8, 8)
    labels = torch.zeros(51, 1, 51)
    for row in range(51):
        labels[row, 0, [row, (row + 1) % 51, (row + 5) % 51]] = torch.tensor([11.0, 3, 1]) / 15
    synthetic = Pixels(spec, torch.zeros(51, 1, 2, 3, 8, 8), soft_labels=labels)
    packed, whole = encode_set(synthetic, "h264-35/top3x4"), encode_set(synthetic, "h264-35")
    assert unpack(whole.blob)[1]["soft_labels"] == labels.numpy().astype("<f4").tobytes()
    assert len(unpack(packed.blob)[1]["soft_labels"]) == -(-51 * 3 * (6 + 4) // 8)
    assert torch.allclose(packed.decode().tensors()["soft_labels"], labels, atol=1e-6)


def test_labels_that_cannot_be_packed_are_refused() -> None:
    """FRePo's are values around a mean, and hard ones take no bytes at all: neither is changed without a word."""
    with pytest.raises(UsageError, match="shares"):
        encode_set(sets()["pixels"], "h264-35/top1x4")
    with pytest.raises(UsageError, match="hard"):
        encode_set(sets()["coreset"], "h264-35/top1x4")


def test_nothing_is_written_that_follows_from_the_rest() -> None:
    """Every key of the head is paid for in each set: a plain one says what it is, and nothing twice."""
    head, parts = unpack(encode_set(sets()["coreset"], "h264-30").blob)
    assert set(head) == {"kind", "classes", "ipc", "frames", "size", "mean", "std", "storage"}
    assert list(parts) == ["pixels"]
    origin = Provenance("p", 1, 2, "strict", "val", 0.5, 0.02, "dm")
    assert set(unpack(to_bytes(sets()["coreset"], origin, "h264-30"))[0]) - set(head) == {
        *("preset", "seed", "step", "protocol", "selected_on", "accuracy", "step_size", "objective")
    }


# --- bytes -----------------------------------------------------------------------------------------------------------


def test_what_is_counted_is_the_file(tmp_path: Path, synthetic: SyntheticSet) -> None:
    """All of it, as it lies on the disk; and the same set gives the same file."""
    for way in fitting(synthetic):
        stored = encode_set(synthetic, way)
        (tmp_path / "set").write_bytes(stored.blob)
        assert stored.nbytes == (tmp_path / "set").stat().st_size
        assert encode_set(synthetic, Storage.parse(way)).blob == stored.blob
        loaded = load_set(tmp_path / "set")
        assert loaded.nbytes == (None if way in PRECISIONS else stored.nbytes)
        assert all(
            torch.equal(tensor, loaded.synthetic.tensors()[n]) for n, tensor in stored.decode().tensors().items()
        )


def test_codecs_save_bytes() -> None:
    """Or there is no reason for them: a smooth set of clips is a tenth of its float32."""
    synthetic = sets()["pixels"]
    assert 8 * encode_set(synthetic, "h264-23").nbytes < encode_set(synthetic, "float32").nbytes


# --- damage ----------------------------------------------------------------------------------------------------------

STORED = {
    (kind, way): encode_set(sets()[kind], way).blob
    for kind, way in [
        ("static-dynamic-all", "jpeg-80+h264-30"),
        ("coreset", "h264-40"),
        ("low-rank", "float16+uint8@half"),
        ("pixels", "uint8"),
    ]
}


@given(st.sampled_from(sorted(STORED)), st.data())
def test_damaged_files_are_told_as_such(which: tuple[str, str], data: st.DataObject) -> None:
    """A download that broke off, or a disk with a bad block: DataError in one line, and never another exception."""
    blob = bytearray(STORED[which])
    kept = data.draw(st.integers(0, len(blob)))
    places = data.draw(st.lists(st.integers(0, len(blob) - 1), max_size=3))
    for place in places:
        blob[place] ^= data.draw(st.integers(1, 255))
    try:
        back = decode_set(bytes(blob[:kept]))
    except DataError as error:
        assert "\n" not in error.problem and error.hint
        return
    assert kept == len(blob)
    if which[1] == "uint8":  # safetensors has no checksum
        assert all(tensor.isfinite().all() for tensor in back.tensors().values())
    else:
        same = decode_set(STORED[which]).tensors()
        assert all(torch.equal(tensor, same[name]) for name, tensor in back.tensors().items())


def changed(blob: bytes, heads: dict[str, Any], contents: dict[str, Callable[[bytes], bytes]] | None = None) -> bytes:
    """A file that says something else, with the checksum of what it says, as one that was made up would.

    A head of None is left out, and so is a part that becomes empty.
    """
    head, parts = unpack(blob)
    head = {name: value for name, value in (head | heads).items() if value is not None}
    parts |= {name: change(parts.get(name, b"")) for name, change in (contents or {}).items()}
    return pack(head, {name: content for name, content in parts.items() if content})


@pytest.mark.parametrize(
    "heads",
    [
        {"storage": "h264-23+"},
        {"storage": "h264-99"},
        {"storage": "jpeg-80"},
        {"storage": "uint8"},
        {"storage": "jpeg-80+h264-40"},
        {"storage": "h264-40/top1x4"},
        {"storage": 7},
        {"storage": None},
        {"size": [8000, 8000]},
        {"size": [16, 16]},
        {"size": [16]},
        {"size": ["16", 18]},
        {"size": [-16, 18]},
        {"size": {}},
        {"frames": 3},
        {"frames": 1 << 40},
        {"frames": 4.0},
        {"shapes": {"pixels": [2, 2, 4, 3, 8000, 8000]}},
        {"shapes": {"pixels": [2, 2, 4, 1, 16, 18]}},
        {"shapes": {"pixels": [1, 4, 4, 3, 16, 18]}},
        {"shapes": {"pixels": [2, 0, 4, 3, 16, 18]}},
        {"shapes": {"pixels": "4"}},
        {"shapes": []},
        {"distinct": [2]},
        {"distinct": [2, 1]},
        {"distinct": [1 << 40, 1 << 40]},
        {"distinct": [True, True]},
        {"temporal": {"n_syn": 2, "segments": 1, "interpolation": "linear"}},
        {"temporal": 3},
        {"hallucinator": "per-class"},
        {"kind": "static-dynamic"},
        {"kind": "pixels", "distinct": [2, 2]},
        {"kind": "full"},
        {"kind": "?"},
        {"kind": []},
        {"ipc": 1},
        {"ipc": 0},
        {"ipc": "x"},
        {"ipc": 1 << 40},
        {"classes": ["a"]},
        {"classes": None},
        {"classes": "ab"},
        {"mean": [0, 1e300, 0]},
        {"mean": [0, "x", 0]},
        {"std": [0, 0, 0]},
        {"std": [-1, 1, 1]},
        {"seed": "x"},
        {"accuracy": "high"},
        {"step_size": -1},
    ],
    ids=str,
)
def test_descriptions_that_do_not_fit_are_refused(heads: dict[str, Any]) -> None:
    """Before memory is taken for what they claim."""
    with pytest.raises(DataError) as caught:
        decode_set(changed(STORED["coreset", "h264-40"], heads))
    assert "\n" not in caught.value.problem and "checksum" not in caught.value.problem and caught.value.hint


@pytest.mark.parametrize(
    ("which", "contents"),
    [
        (("coreset", "h264-40"), {"pixels": lambda content: content[:-1]}),
        (("coreset", "h264-40"), {"pixels": lambda content: content + b"\1\1"}),
        (("coreset", "h264-40"), {"pixels": lambda content: b""}),
        (("coreset", "h264-40"), {"more": lambda content: b"1"}),
        (("coreset", "h264-40"), {"pixels.range": lambda content: b"1234"}),
        (("coreset", "h264-40"), {"soft_labels": lambda content: bytes(4 * 2 * 2)}),
        (("static-dynamic-all", "jpeg-80+h264-30"), {"soft_labels": lambda content: b"\xff" * len(content)}),
        (("static-dynamic-all", "jpeg-80+h264-30"), {"dynamic.range": lambda content: b""}),
        (("static-dynamic-all", "jpeg-80+h264-30"), {"dynamic.range": lambda content: content[4:]}),
        (("static-dynamic-all", "jpeg-80+h264-30"), {"dynamic.range": lambda content: b"\xff" * len(content)}),
        (("static-dynamic-all", "jpeg-80+h264-30"), {"hallucinator.bias": lambda content: content[4:]}),
        (("low-rank", "float16+uint8@half"), {"static": lambda content: content[2:]}),
        (("low-rank", "float16+uint8@half"), {"coefficients": lambda content: b""}),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    which: tuple[str, str], contents: dict[str, Callable[[bytes], bytes]]
) -> None:
    """Nor may a file with a good checksum point outside of itself."""
    assert decode_set(changed(STORED[which], {})).ipc >= 1
    with pytest.raises(DataError) as caught:
        decode_set(changed(STORED[which], {}, contents))
    assert "checksum" not in caught.value.problem and "\n" not in caught.value.problem


def test_a_few_bytes_cannot_claim_huge_clips() -> None:
    """Stored at 8 x 8, any shown size fits the streams: a file of 2 kB would ask for 13 GB of pixels."""
    small = encode_set(sets()["coreset"], "h264-30@8").blob
    with pytest.raises(DataError):
        decode_set(changed(small, {"size": [8192, 8192]}))


def test_a_few_stored_frames_cannot_claim_clips_without_end() -> None:
    """One frame that is shown 65,536 times would be decoded at once, and fill the memory with the first clip."""
    still = encode_set(sets()["pixels-temporal"], "h264-40").blob
    with pytest.raises(DataError):
        decode_set(changed(still, {"frames": 1 << 16, "size": [16, 18]}))


@pytest.mark.parametrize("blob", [b"", b"\0" * 7, b"\xff" * 64, b"\x80\x04pickle", b"\x02" + b"\0" * 7 + b"{}"])
def test_files_of_another_kind_are_refused(blob: bytes) -> None:
    """A pickle is not run, and is no crash."""
    with pytest.raises(DataError):
        decode_set(blob)


# --- real clips in as many bytes -------------------------------------------------------------------------------------


def in_order(real: RealClips) -> list[torch.Tensor]:
    return [real.of_class(label).flip(0) for label in range(len(real.spec.classes))]


REAL = make_real(SPEC, (5, 3))
WHOLE = [encode_set(Coreset(SPEC, clips_of(REAL, [[4], [2]])), "h264-40").nbytes, 20_000]
"""The bytes of the first clips of each class, and more than those of all."""


def expected(number: int) -> Coreset:
    """The first ``number`` clips of each class in the order of ``in_order``, those of the smaller class repeated."""
    return Coreset(SPEC, clips_of(REAL, [[4 - i for i in range(number)], [2 - i % 3 for i in range(number)]]))


@settings(max_examples=25)
@given(st.integers(*WHOLE))
def test_a_budget_is_never_exceeded_and_never_wasted(budget: int) -> None:
    """As many clips as fit, in the order that was asked for, and one more of each class would not fit."""
    found = compressed_clips(REAL, budget, in_order(REAL), "h264-40")
    stored, synthetic = found.stored, found.decode()
    assert stored.nbytes <= budget
    assert encode_set(expected(synthetic.ipc), "h264-40").blob == stored.blob
    assert synthetic.ipc == 5 or encode_set(expected(synthetic.ipc + 1), "h264-40").nbytes > budget
    assert torch.equal(synthetic.pixels, decode_set(stored.blob).tensors()["pixels"])


def test_the_bytes_of_a_clip_are_what_it_adds_to_a_file() -> None:
    """Against files that differ in one clip; its length is said in at most two bytes."""
    every = clip_bytes(REAL, "h264-40")
    found = every[REAL.of_class(0)].tolist()
    assert len(every) == len(REAL) and len(set(found)) > 1
    files = [encode_set(Coreset(SPEC, clips_of(REAL, [[clip], [0]])), "h264-40").nbytes for clip in range(5)]
    for clip in range(5):
        assert files[clip] - files[0] == pytest.approx(found[clip] - found[0], abs=4)


def test_a_repeated_clip_costs_nothing() -> None:
    """A class with few clips shows its own again; its rival's budget is not spent on copies."""
    three, five = (encode_set(expected(number), "h264-40") for number in (3, 5))
    coding = Coding.parse("h264-40")
    more = [coding.encode_clip(REAL.view.clips(index.numpy())) for index in in_order(REAL)[0][3:]]
    added = sum(len(unit) + 2 for clip in more for unit in clip.body)
    assert five.nbytes - three.nbytes <= added + 30
    clips = five.decode().tensors()["pixels"][1]
    assert torch.equal(clips[0], clips[3]) and torch.equal(clips[1], clips[4])


@pytest.mark.parametrize("number", [5, 6, 40])
def test_no_class_stores_a_clip_again(number: int) -> None:
    """Where every class has fewer clips than are wanted, the largest would be stored over and over."""
    everything = Coreset(SPEC, clips_of(REAL, [[i % 5 for i in range(number)], [i % 3 for i in range(number)]]))
    stored = encode_set(everything, "h264-40")
    five = encode_set(Coreset(SPEC, clips_of(REAL, [[0, 1, 2, 3, 4], [0, 1, 2, 0, 1]])), "h264-40")
    assert abs(stored.nbytes - five.nbytes) <= 2
    shown = stored.decode()
    assert isinstance(shown, Coreset) and shown.ipc == number and shown.distinct == (5, 3)
    assert torch.equal(shown.pixels[1, number - 1], shown.pixels[1, (number - 1) % 3])


def test_a_few_bytes_cannot_claim_repeats_without_end() -> None:
    """Nothing says that a clip comes again; a file of 2 kB would ask for a million of them."""
    blob = STORED["coreset", "h264-40"]
    assert decode_set(changed(blob, {"ipc": 2048, "distinct": [2, 2]})).ipc == 2048
    with pytest.raises(DataError, match="distinct"):
        decode_set(changed(blob, {"ipc": 2049, "distinct": [2, 2]}))


def test_what_cannot_fit_names_the_fewest_bytes_that_can() -> None:
    """And these do hold one clip of each class."""
    with pytest.raises(DataError, match=str(WHOLE[0])):
        compressed_clips(REAL, WHOLE[0] - 1, in_order(REAL), "h264-40")
    assert compressed_clips(REAL, WHOLE[0], in_order(REAL), "h264-40").decode().ipc == 1


def test_clips_are_encoded_only_as_far_as_they_could_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A split has thousands of clips, and one takes up to a tenth of a second."""
    coded: list[int] = []
    encode = Coding.encode_clip

    def counted(self: Coding, clip: np.ndarray) -> Coded:
        coded.append(1)
        return encode(self, clip)

    monkeypatch.setattr(Coding, "encode_clip", counted)
    real = make_real(SPEC, (60, 60))
    one = compressed_clips(real, 2 * WHOLE[0], in_order(real), "h264-40").decode().ipc
    assert len(coded) <= 2 * (one + 3)


def test_a_class_without_clips_is_named() -> None:
    """In one plain line, whatever its folder was called."""
    real = make_real(make_spec(("a", "b\n\x1b"), 4, 16, 18), (2, 0))
    with pytest.raises(DataError) as caught:
        compressed_clips(real, 10_000, in_order(real), "h264-40")
    assert not {"\n", "\x1b"} & set(caught.value.problem)


@pytest.mark.parametrize("text", ["uint8", "jpeg-80+h264-30"])
def test_clips_are_packed_by_one_codec(text: str) -> None:
    """Numbers have no bytes to be fitted, and clips are no stills."""
    with pytest.raises(UsageError):
        compressed_clips(REAL, 10_000, in_order(REAL), text)


def test_work_can_be_stopped_between_clips() -> None:
    """A run that is asked to stop does not first encode a whole split."""

    class StopError(Exception):
        pass

    def check() -> None:
        raise StopError

    with pytest.raises(StopError):
        compressed_clips(REAL, 10_000, in_order(REAL), "h264-40", check=check)


GRID = [f"h264-{quality}{side}" for side in ("", "@16") for quality in (18, 23, 28, 35)]


def test_baselines_of_equal_bytes_fit_and_are_all_named() -> None:
    """Every quality that can hold a clip of each class is there, within the budget, with its count and its bytes."""
    budget = WHOLE[0] + 600
    found = []
    for name in GRID:
        with contextlib.suppress(DataError):
            found.append(compressed_clips(REAL, budget, in_order(REAL), name))
    fits = []
    for name in GRID:
        if encode_set(expected(1), name).nbytes <= budget:
            fits.append(name)
    assert fits and [str(candidate.storage) for candidate in found] == fits
    for candidate in found:
        assert candidate.nbytes == len(candidate.stored.blob) <= budget
        assert candidate.decode().ipc == candidate.per_class
        assert candidate.stored.blob == encode_set(expected(candidate.per_class), candidate.storage).blob


@pytest.mark.parametrize("name", GRID)
def test_baselines_that_cannot_be_are_told_with_the_fewest_bytes(name: str) -> None:
    """So that the next try succeeds."""
    fewest = encode_set(expected(1), name).nbytes
    with pytest.raises(DataError, match=str(fewest)):
        compressed_clips(REAL, fewest - 1, in_order(REAL), name)
    assert compressed_clips(REAL, fewest, in_order(REAL), name).per_class
