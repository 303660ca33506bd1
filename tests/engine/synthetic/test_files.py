"""The synthetic set file: what a user loses here is the result of days, or the safety to open somebody else's."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load, save

from engine.errors import DataError
from engine.models.hallucinator import Hallucinator
from engine.synthetic import (
    Coreset,
    Pixels,
    Provenance,
    StaticDynamic,
    StaticImages,
    StillVideo,
    SyntheticSet,
    Temporal,
    load_set,
    load_synthetic,
    save_synthetic,
    to_bytes,
)
from tests.tiny import PYTHON, ROOT, make_spec, make_static_dynamic

WHENCE = Provenance("MiniUCF é", 7, 400, "strict", "val", 0.1875)


def sets(classes: tuple[str, ...] = ("a", "b"), ipc: int = 2, frames: int = 3, height: int = 4, width: int = 4) -> list:
    """Plain ones of every kind, and then such as use what else can be stored."""
    spec = make_spec(classes, frames, height, width)
    rng = torch.Generator().manual_seed(0)
    number = len(classes)
    less = Temporal(frames, max(1, frames - 1), 1, "linear")

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(number, *shape, generator=rng)

    return [
        make_static_dynamic(spec, ipc, 2, 1),
        Pixels(spec, noise(ipc, frames, 3, height, width)),
        StillVideo(spec, ipc, noise(2 * ipc, 3, height, width)),
        StaticImages(spec, noise(ipc, 3, height, width)),
        make_static_dynamic(
            spec, ipc, 1, 2, temporal=less, side=max(1, min(height, width) // 2), hallucinators=2, soft=True
        ),
        Pixels(spec, noise(ipc, less.stored, 3, height, width), temporal=less),
        StillVideo(spec, ipc, noise(2 * ipc, 3, height, width), soft_labels=noise(ipc, number)),
        make_static_dynamic(spec, ipc, 2, 1, per_class=True),
        make_static_dynamic(spec, ipc, 0, 2),
    ]


KINDS = [
    "static-dynamic",
    "pixels",
    "static-only",
    "static-images",
    "compressed-static-dynamic",
    "compressed-pixels",
    "soft-static-only",
    "per-class",
    "dynamic-only",
]
WHICH = st.integers(0, len(KINDS) - 1)


@pytest.fixture(params=range(len(KINDS)), ids=KINDS)
def synthetic(request: pytest.FixtureRequest) -> SyntheticSet:
    return sets()[request.param]


def header_of(content: bytes) -> dict[str, Any]:
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def with_header(content: bytes, header: dict[str, Any]) -> bytes:
    length = int.from_bytes(content[:8], "little")
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def refused(path: Path, content: bytes) -> DataError:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_set(path)
    assert str(path) in caught.value.problem and caught.value.hint
    assert "\n" not in caught.value.problem
    return caught.value


# --- round trips -----------------------------------------------------------------------------------------------------


def same(one: SyntheticSet, other: SyntheticSet) -> None:
    assert (one.kind, one.spec, one.ipc, one.variants) == (other.kind, other.spec, other.ipc, other.variants)
    assert one.describe() == other.describe()
    assert one.tensors().keys() == other.tensors().keys()
    assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in one.tensors().items())
    mine, theirs = (each.sample(torch.Generator().manual_seed(3)) for each in (one, other))
    assert torch.equal(mine[0], theirs[0]) and torch.equal(mine[1], theirs[1])


def test_a_set_comes_back_as_it_was(tmp_path: Path, synthetic: SyntheticSet) -> None:
    """To the bit, with its classes, normalisation and where it is from."""
    save_synthetic(tmp_path / "s.safetensors", synthetic, WHENCE)
    loaded = load_set(tmp_path / "s.safetensors")
    same(synthetic, loaded.synthetic)
    assert loaded.provenance == WHENCE and loaded.precision == "float32"
    assert not any(tensor.requires_grad for tensor in loaded.synthetic.parameters().values())


NAMES = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        "../../etc",
        '"',
        "\\",
        "a\nb",
        "\x00",
        "\x1b[2J",
        "\u202e",
        "漢字",
        "\U0001f600",
        "'; --",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    WHICH,
    st.lists(NAMES, min_size=1, max_size=3),
    st.integers(1, 3),
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from(["float32", "float16", "uint8"]),
)
def test_any_shape_and_any_class_name(
    tmp_path: Path, which: int, classes: list[str], ipc: int, shape, precision
) -> None:
    """Class names are folder names of strangers; shapes are what people have."""
    synthetic = sets(tuple(classes), ipc, *shape)[which]
    save_synthetic(tmp_path / "s.safetensors", synthetic, WHENCE, precision)
    loaded = load_set(tmp_path / "s.safetensors")
    if precision == "float32":
        same(synthetic, loaded.synthetic)
    assert loaded.synthetic.spec == synthetic.spec and loaded.precision == precision
    assert loaded.synthetic.expand()[0].shape == synthetic.expand()[0].shape


@pytest.mark.parametrize("precision", ["float32", "float16", "uint8"])
def test_the_bytes_that_are_reported_are_those_in_the_file(synthetic: SyntheticSet, precision: str) -> None:
    """By the file's own header, without hard labels, which say nothing that the classes do not."""
    header = header_of(to_bytes(synthetic, WHENCE, precision))
    del header["__metadata__"]
    sizes = {name: entry["data_offsets"][1] - entry["data_offsets"][0] for name, entry in header.items()}
    if synthetic.soft_labels is None:
        assert sizes.pop("labels") == 8 * 2 * synthetic.ipc
    assert sum(sizes.values()) == synthetic.nbytes(precision)


def test_the_file_is_the_one_of_the_design(tmp_path: Path) -> None:
    """Others read it without us: names, shapes, labels and metadata are a contract."""
    save_synthetic(tmp_path / "s.safetensors", sets()[0], WHENCE)
    with safe_open(tmp_path / "s.safetensors", framework="numpy") as file:
        shapes = {name: tuple(file.get_tensor(name).shape) for name in file.keys()}  # noqa: SIM118 - not a mapping
        metadata, labels = file.metadata(), file.get_tensor("labels")
    assert shapes == {
        "static": (2, 4, 3, 4, 4),
        "dynamic": (2, 2, 3, 1, 4, 4),
        "hallucinator.weight": (3, 4, 3, 3, 3),
        "hallucinator.bias": (3,),
        "labels": (2, 2),
    }
    assert labels.tolist() == [[0, 0], [1, 1]]
    assert json.loads(metadata["classes"]) == ["a", "b"] and metadata["frames"] == "3"
    assert json.loads(metadata["pairing"]) == {"statics": 2, "dynamics": 1}
    assert json.loads(metadata["mean"]) == [0.45, 0.5, 0.4] and json.loads(metadata["std"]) == [0.25, 0.2, 0.3]
    wanted = {"format", "version", "precision", "preset", "seed", "protocol", "accuracy", "step", "selected_on"}
    assert wanted <= set(metadata) and (metadata["format"], metadata["version"]) == ("vdtui.synthetic", "1")


def test_the_file_of_a_compressed_set_is_the_one_of_the_design(tmp_path: Path) -> None:
    """What is stored has the shapes that are stored; how it becomes clips stands beside it."""
    save_synthetic(tmp_path / "s.safetensors", sets()[4], WHENCE)
    with safe_open(tmp_path / "s.safetensors", framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        metadata = file.metadata()
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "static": (2, 2, 3, 4, 4),
        "dynamic": (2, 4, 2, 1, 2, 2),
        "hallucinator.weight": (2, 3, 4, 3, 3, 3),
        "hallucinator.bias": (2, 3),
        "labels": (2, 2, 2),
    }
    assert tensors["labels"].dtype == np.float32 and np.array_equal(tensors["labels"], sets()[4].soft_labels.numpy())
    assert json.loads(metadata["temporal"]) == {"n_syn": 2, "segments": 1, "interpolation": "linear"}
    assert json.loads(metadata["pairing"]) == {"statics": 1, "dynamics": 2, "hallucinators": 2}
    assert metadata["frames"] == "3" and "step_size" not in metadata


def test_the_file_says_that_each_class_has_its_own_hallucinator(tmp_path: Path) -> None:
    """The tensors alone could be those of hallucinators that are shared; and what is not there takes no bytes."""
    _, *_, own, moving = sets()
    described = header_of(to_bytes(own, WHENCE))
    assert described["__metadata__"]["hallucinator"] == "per-class"
    assert json.loads(described["__metadata__"]["pairing"]) == {"statics": 2, "dynamics": 1}
    assert described["hallucinator.weight"]["shape"] == [2, 3, 4, 3, 3, 3]
    assert "hallucinator" not in header_of(to_bytes(sets()[4], WHENCE))["__metadata__"]
    described = header_of(to_bytes(moving, WHENCE))
    assert described["static"]["shape"] == [2, 0, 3, 4, 4] and len(set(described["static"]["data_offsets"])) == 1
    assert json.loads(described["__metadata__"]["pairing"]) == {"statics": 0, "dynamics": 2}


def test_hallucinators_that_do_not_fit_the_classes_are_refused(tmp_path: Path) -> None:
    """A file that says more than it holds, or says nonsense."""
    shared, per_class = sets()[0], sets()[-2]
    for content, said in (
        (to_bytes(shared, WHENCE), "per-class"),
        (to_bytes(per_class, WHENCE), "own"),
        (to_bytes(sets()[1], WHENCE), "per-class"),
    ):
        header = header_of(content)
        header["__metadata__"]["hallucinator"] = said
        refused(tmp_path / "s.safetensors", with_header(content, header))


@pytest.mark.parametrize("side", [0, 5000, 10**9])
def test_still_images_that_are_not_there_cannot_claim_any_size(tmp_path: Path, side: int) -> None:
    """Of no images none takes bytes, so the file's length does not bound what its clips would take."""
    content = to_bytes(sets()[-1], WHENCE)
    header = header_of(content)
    header["static"]["shape"] = [2, 0, 3, side, side]
    refused(tmp_path / "s.safetensors", with_header(content, header))


def counted(*shape: int) -> torch.Tensor:
    """Values that are the same on every machine, exact in binary."""
    return (torch.arange(math.prod(shape)).view(shape) * 37 % 101 - 50) / 32


def counted_sets() -> list[SyntheticSet]:
    spec = make_spec()
    hallucinator = Hallucinator.of(counted(3, 4, 3, 3, 3), counted(3))
    return [
        StaticDynamic(spec, 2, counted(2, 4, 3, 4, 4), counted(2, 2, 3, 1, 4, 4), hallucinator),
        Pixels(spec, counted(2, 2, 3, 3, 4, 4)),
        Coreset(spec, counted(2, 2, 3, 3, 4, 4)),
        StillVideo(spec, 2, counted(2, 4, 3, 4, 4)),
        StaticImages(spec, counted(2, 2, 3, 4, 4)),
    ]


GOLDEN = {
    "static-dynamic": ("2493d9a248b569cc", "f04910d80ae4d6a3", "51d5e0cfd275baa3"),
    "pixels": ("b9229ae7841721b5", "b38525ab11b565ba", "5cd16a5676cb0c28"),
    "coreset": ("07b8f8c823f9f604", "db1259643da39ae0", "a4c308f48cfaceb2"),
    "static-only": ("e76326113b8c31d1", "d289ed1ee67ede9c", "5dd8657d9154529c"),
    "static-images": ("bfd66ed60550c628", "f7d536a73d2d8e0f", "4ad16f6074f9927e"),
}
"""First digits of the SHA-256 of the counted sets at each precision, written by the first version of this format."""


@pytest.mark.parametrize("synthetic", counted_sets(), ids=lambda each: each.kind)
def test_plain_sets_are_the_bytes_that_they_always_were(synthetic: SyntheticSet) -> None:
    """Checksums that were published with version 1 hold: soft labels and compression cost a plain set nothing."""
    found = [hashlib.sha256(to_bytes(synthetic, WHENCE, each)).hexdigest() for each in ("float32", "float16", "uint8")]
    assert tuple(digest[:16] for digest in found) == GOLDEN[synthetic.kind]


def test_the_step_size_is_kept_where_there_is_one(tmp_path: Path) -> None:
    """A set of trajectory matching is made for its learned rate; a file without one loads as before."""
    whence = dataclasses.replace(WHENCE, step_size=0.0123)
    content = to_bytes(sets()[0], whence)
    assert json.loads(header_of(content)["__metadata__"]["step_size"]) == 0.0123
    (tmp_path / "s.safetensors").write_bytes(content)
    assert load_set(tmp_path / "s.safetensors").provenance == whence
    (tmp_path / "s.safetensors").write_bytes(to_bytes(sets()[0], WHENCE))
    assert load_set(tmp_path / "s.safetensors").provenance.step_size is None
    for value in ("0", "-0.1", "NaN", "Infinity", '"0.1"', "[]", "true", "1" + "0" * 400, ""):
        header = header_of(content)
        header["__metadata__"]["step_size"] = value
        refused(tmp_path / "r.safetensors", with_header(content, header))


def test_the_objective_is_kept_where_there_is_one(tmp_path: Path) -> None:
    """Whoever gets the file alone must know what it was learned by; one from before it was noted loads as before."""
    whence = dataclasses.replace(WHENCE, objective="ncfm")
    content = to_bytes(sets()[0], whence)
    (tmp_path / "s.safetensors").write_bytes(content)
    assert load_set(tmp_path / "s.safetensors").provenance == whence
    (tmp_path / "s.safetensors").write_bytes(to_bytes(sets()[0], WHENCE))
    assert load_set(tmp_path / "s.safetensors").provenance.objective is None
    for value in ("0", "[]", "true", '{"dm": 1}', ""):
        header = header_of(content)
        header["__metadata__"]["objective"] = value
        refused(tmp_path / "r.safetensors", with_header(content, header))


WRITE = """
import hashlib
from tests.engine.synthetic.test_files import WHENCE, sets
from engine.synthetic import to_bytes
print(*(hashlib.sha256(to_bytes(each, WHENCE, p)).hexdigest() for each in sets() for p in ("float32", "uint8")))
"""


def test_the_same_set_gives_the_same_bytes(synthetic: SyntheticSet) -> None:
    """Twice in a row: a checksum that is published beside a set must hold."""
    assert to_bytes(synthetic, WHENCE) == to_bytes(synthetic, WHENCE)


def test_the_same_set_gives_the_same_bytes_in_another_process() -> None:
    """Also under another hash seed, which orders sets and the library's metadata otherwise."""
    here = [hashlib.sha256(to_bytes(each, WHENCE, p)).hexdigest() for each in sets() for p in ("float32", "uint8")]
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    there = subprocess.run([PYTHON, "-c", WRITE], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert there.stdout.split() == here, there.stderr


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-1000, 1000, width=32), min_size=48, max_size=48), st.booleans())
def test_uint8_is_right_to_half_a_step(tmp_path: Path, values: list[float], flat: bool) -> None:
    """The smallest export must be as good as 256 levels of each slice's range can be, and exact where it is flat."""
    tensor = torch.tensor(values).view(1, 1, 3, 4, 4)
    if flat:
        tensor = tensor[..., :1, :1].amax().expand_as(tensor).contiguous()
    save_synthetic(tmp_path / "u.safetensors", StaticImages(make_spec("a"), tensor), WHENCE, "uint8")
    loaded = load_synthetic(tmp_path / "u.safetensors").tensors()["static"]
    step = (float(tensor.max()) - float(tensor.min())) / 255
    single = np.finfo(np.float32)
    rounding = 4 * single.eps * float(tensor.abs().max()) + single.tiny
    assert float((loaded.double() - tensor.double()).abs().max()) <= step / 2 + rounding


def test_uint8_has_a_range_for_each_memory(tmp_path: Path) -> None:
    """One bright memory must not take the levels of all others."""
    tensor = torch.rand(2, 2, 3, 4, 4) * torch.tensor([[1.0, 1000.0], [1e-3, 10.0]])[..., None, None, None]
    save_synthetic(tmp_path / "u.safetensors", StaticImages(make_spec(), tensor), WHENCE, "uint8")
    error = (load_synthetic(tmp_path / "u.safetensors").tensors()["static"] - tensor).abs().amax(dim=(2, 3, 4))
    assert bool((error <= tensor.amax(dim=(2, 3, 4)) / 255 * 0.51).all())


def test_float16_is_right_to_its_precision(tmp_path: Path, synthetic: SyntheticSet) -> None:
    """11 bits of each value."""
    save_synthetic(tmp_path / "h.safetensors", synthetic, WHENCE, "float16")
    loaded = load_synthetic(tmp_path / "h.safetensors")
    for name, tensor in synthetic.tensors().items():
        exact = name.startswith("hallucinator") or name == "soft_labels"
        assert torch.allclose(loaded.tensors()[name], tensor, rtol=0 if exact else 2**-11, atol=0 if exact else 1e-7)


@pytest.mark.parametrize("precision", ["float32", "float16", "uint8"])
def test_a_file_that_was_written_can_be_read(tmp_path: Path, precision: str) -> None:
    """Large memories (rates of 1e3 and above are published): a file or a refusal, never a file that nobody can open."""
    path = tmp_path / "s.safetensors"
    try:
        save_synthetic(path, StaticImages(make_spec("a"), torch.full((1, 1, 3, 4, 4), 1e5)), WHENCE, precision)
    except DataError:
        assert not path.exists()
        return
    assert torch.allclose(load_synthetic(path).tensors()["static"], torch.tensor(1e5), rtol=0.01)


def test_real_clips_are_stored_as_the_very_pixels_that_they_were(tmp_path: Path) -> None:
    """A byte a value and nothing lost: what is trained on from the file is what was chosen, to the bit."""
    spec = make_spec()
    pixels = torch.randint(0, 256, (4, 3, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clips = spec.normalise(pixels).transpose(1, 2).unflatten(0, (2, 2)).contiguous()
    path = tmp_path / "c.safetensors"
    save_synthetic(path, Coreset(spec, clips), WHENCE, "uint8")
    loaded = load_synthetic(path)
    assert torch.equal(loaded.tensors()["pixels"], clips)
    stored = load(path.read_bytes())
    assert set(stored) == {"pixels", "labels"}
    assert torch.equal(stored["pixels"].flatten(0, 1), pixels.movedim(-1, 2))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=2),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from(["float32", "float16", "uint8"]),
)
def test_clips_that_come_again_are_stored_once(
    tmp_path: Path, counts: list[int], ipc: int, real: bool, precision: str
) -> None:
    """The file would be larger than the data that it was chosen from, and its length another than its bytes."""
    spec = make_spec()
    pixels = torch.randint(0, 256, (9, 3, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clips = spec.normalise(pixels).transpose(1, 2) if real else counted(9, 3, 3, 4, 4)
    rows = [[4 * label + i % count for i in range(ipc)] for label, count in enumerate(counts)]
    coreset = Coreset(spec, clips[torch.tensor(rows)])
    path = tmp_path / "c.safetensors"
    save_synthetic(path, coreset, WHENCE, precision)
    loaded = load_set(path)
    assert loaded.synthetic.ipc == ipc and loaded.precision == precision and loaded.provenance == WHENCE
    found, expected = loaded.synthetic.tensors()["pixels"], coreset.pixels
    exact = precision == "float32" or (real and precision == "uint8")
    assert torch.equal(found, expected) if exact else torch.allclose(found, expected, atol=0.02)
    number, values = sum(min(count, ipc) for count in counts), {"float32": 4, "float16": 2, "uint8": 1}[precision]
    ranges = 8 * number if precision == "uint8" and not real else 0
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    assert len(content) - 8 - header == number * 144 * values + ranges + 8 * 2 * ipc
    assert ("distinct" in header_of(content)["__metadata__"]) == (number < 2 * ipc)


def test_files_that_store_a_clip_again_are_read_as_ever(tmp_path: Path) -> None:
    """Those of earlier versions hold every instance; what counts is what is different."""
    spec = make_spec()
    clips = counted(2, 1, 3, 3, 4, 4).expand(-1, 4, -1, -1, -1, -1)
    header = header_of(to_bytes(Coreset(spec, counted(2, 4, 3, 3, 4, 4)), WHENCE))["__metadata__"]
    stored = {"pixels": clips.contiguous(), "labels": torch.arange(2).unsqueeze(1).expand(-1, 4).contiguous()}
    (tmp_path / "old.safetensors").write_bytes(save(stored, header))
    loaded = load_synthetic(tmp_path / "old.safetensors")
    assert torch.equal(loaded.tensors()["pixels"], clips) and loaded.stored_values == 2 * 144


@pytest.mark.parametrize(
    "text", ["[1]", "[1, 2, 1]", "[2, 2]", "[3, 0]", "[4, -1]", "[true, 2]", "3", "null", "[", "[1.5, 1.5]"]
)
def test_counts_of_clips_that_do_not_fit_are_refused(tmp_path: Path, text: str) -> None:
    """A damaged file is not a set with other clips in other classes."""
    spec = make_spec()
    rows = torch.tensor([[0, 0, 0], [1, 2, 1]])
    content = to_bytes(Coreset(spec, counted(3, 3, 3, 4, 4)[rows]), WHENCE, "uint8")
    header = header_of(content)
    assert header["__metadata__"]["distinct"] == "[1, 2]"
    header["__metadata__"]["distinct"] = text
    refused(tmp_path / "r.safetensors", with_header(content, header))


def test_a_small_file_cannot_claim_all_memory(tmp_path: Path) -> None:
    """A clip that comes again a million times takes no bytes in the file, and terabytes when it is read."""
    spec = make_spec()
    clip = counted(2, 1, 3, 3, 4, 4)
    many = Coreset(spec, clip[:, [0] * 3000])
    save_synthetic(tmp_path / "many.safetensors", many, WHENCE)
    assert load_synthetic(tmp_path / "many.safetensors").ipc == 3000
    assert json.loads(header_of((tmp_path / "many.safetensors").read_bytes())["__metadata__"]["distinct"]) == [3, 1]
    metadata = header_of(to_bytes(many, WHENCE))["__metadata__"] | {"distinct": "[1, 1]"}
    labels = torch.arange(2).unsqueeze(1).expand(-1, 3000).contiguous()
    refused(tmp_path / "r.safetensors", save({"pixels": clip.transpose(0, 1).contiguous(), "labels": labels}, metadata))


def test_a_coreset_can_be_saved_and_loaded(tmp_path: Path) -> None:
    """It is a set like all others; a file of a kind that no reader knows is lost."""
    coreset = Coreset(make_spec(), torch.rand(2, 1, 3, 3, 4, 4))
    save_synthetic(tmp_path / "c.safetensors", coreset, WHENCE)
    assert torch.equal(load_synthetic(tmp_path / "c.safetensors").expand()[0], coreset.expand()[0])


# --- files from outside ----------------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WHICH, st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(tmp_path: Path, which: int, share: float) -> None:
    """A download that broke off."""
    content = to_bytes(sets()[which], WHENCE)
    refused(tmp_path / "t.safetensors", content[: int(share * len(content))])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(WHICH, st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_a_flipped_byte_never_gives_a_traceback(
    tmp_path: Path, which: int, position: int, change: int, in_header: bool
) -> None:
    """A damaged disk: the set with another value in it, or a refusal in words."""
    content = bytearray(to_bytes(sets()[which], WHENCE, "uint8"))
    length = 8 + int.from_bytes(content[:8], "little")
    content[position % (length if in_header else len(content))] ^= change
    (tmp_path / "f.safetensors").write_bytes(content)
    try:
        loaded = load_set(tmp_path / "f.safetensors")
    except DataError:
        return
    assert all(torch.isfinite(tensor).all() for tensor in loaded.synthetic.tensors().values())


def test_what_is_no_set(tmp_path: Path) -> None:
    """Each gets its own sentence: absent, foreign, from the future."""
    with pytest.raises(DataError, match="no file"):
        load_synthetic(tmp_path / "gone.safetensors")
    with pytest.raises(DataError):
        load_synthetic(tmp_path)
    content = to_bytes(sets()[0], WHENCE)
    header = header_of(content)
    other = {**header, "__metadata__": {**header["__metadata__"], "version": "2"}}
    assert "Update" in refused(tmp_path / "v", with_header(content, other)).hint
    other = {**header, "__metadata__": {"format": "pt"}}
    assert "not a synthetic set" in refused(tmp_path / "v", with_header(content, other)).problem
    del other["__metadata__"]
    refused(tmp_path / "v", with_header(content, other))
    for rubbish in (b"", b"x" * 7, b"\xff" * 100, os.urandom(300), b"PK\x03\x04" * 30):
        refused(tmp_path / "v", rubbish)


def stored_of(content: bytes) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    return load(content), header_of(content)["__metadata__"]


def usable_or_refused(path: Path, content: bytes) -> None:
    """Either DataError, or a set that can be drawn from, counted and shown: nothing in between."""
    path.write_bytes(content)
    try:
        loaded = load_set(path)
    except DataError as error:
        assert "\n" not in error.problem and error.problem.isprintable()
        return
    drawn = loaded.synthetic.draw(torch.Generator().manual_seed(0))
    spec = loaded.synthetic.spec
    frames = () if loaded.synthetic.kind == "static-images" else (spec.frames,)
    number = len(spec.classes) * loaded.synthetic.ipc
    assert drawn.clips.shape == (number, 3, *frames, spec.height, spec.width)
    assert len(drawn.targets) == number and loaded.synthetic.nbytes("uint8") > 0
    loaded.synthetic.expand()


SIZES = st.lists(st.integers(0, 4), max_size=6)
DTYPES = st.sampled_from(
    [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(WHICH, st.sampled_from(["float32", "float16", "uint8"]), st.data())
def test_tensors_of_any_shape_and_type_are_refused_or_used(tmp_path: Path, which: int, precision, data) -> None:
    """A set that somebody else wrote, almost right: one tensor of another shape or type, or one size off."""
    stored, metadata = stored_of(to_bytes(sets()[which], WHENCE, precision))
    name = data.draw(st.sampled_from(sorted(stored)))
    shape = list(stored[name].shape)
    if data.draw(st.booleans()):
        axis = data.draw(st.integers(0, len(shape) - 1))
        shape[axis] = max(0, shape[axis] + data.draw(st.sampled_from([-1, 0, 1])))
        if data.draw(st.booleans()):
            shape.insert(axis, 1)
        dtype = stored[name].dtype
    else:
        shape, dtype = data.draw(SIZES), data.draw(DTYPES)
    stored[name] = torch.zeros(shape, dtype=dtype)
    usable_or_refused(tmp_path / "f.safetensors", save(stored, metadata))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TEMPORAL = st.fixed_dictionaries(
    {},
    optional={
        "n_syn": st.integers(-1, 4) | st.integers() | JSON,
        "segments": st.integers(-1, 4) | st.integers() | JSON,
        "interpolation": st.sampled_from(["duplicate", "linear", "\x1b[2J"]) | JSON,
    },
)
COUNTS = st.integers(-2, 5).map(str) | st.integers().map(str) | st.sampled_from(["9" * 5000, "1e3", " 2 ", "\u0663"])
LINES = JSON.map(json.dumps) | TEMPORAL.map(json.dumps) | COUNTS | st.text(max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(WHICH, st.data())
def test_descriptions_of_any_content_are_refused_or_used(tmp_path: Path, which: int, data) -> None:
    """Any line of the description, also one that this set does not need, may say anything."""
    stored, metadata = stored_of(to_bytes(sets()[which], WHENCE))
    keys = [*sorted(metadata), "temporal", "step_size", "objective"]
    for key in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=2)):
        other = data.draw(TEMPORAL.map(json.dumps) if key == "temporal" else LINES)
        metadata[key] = other
    if metadata["frames"] not in {str(few) for few in range(10)} and which in (2, 6):
        return  # a still video may be as long as it likes, within reason
    usable_or_refused(tmp_path / "d.safetensors", save(stored, metadata))


@pytest.mark.parametrize("frames", ["65537", "1000000000", "9" * 30])
@pytest.mark.parametrize("which", [2, 5])
def test_a_length_that_nobody_could_show_is_refused(tmp_path: Path, which: int, frames: str) -> None:
    """A small file must not fill the memory when its one image is shown for a billion frames."""
    content = to_bytes(sets()[which], WHENCE)
    header = header_of(content)
    header["__metadata__"]["frames"] = frames
    refused(tmp_path / "l", with_header(content, header))


@pytest.mark.parametrize("which", [0, 4])
def test_labels_that_are_not_the_set_s_are_refused(tmp_path: Path, which: int) -> None:
    """A set whose labels say something else than its order would be trained on wrongly, without a word."""
    stored, metadata = stored_of(to_bytes(sets()[which], WHENCE))
    right = stored["labels"]
    wrong = [right.flip(0).to(torch.int64), right.double(), right[:1], right[:, :1], right.to(torch.int32)]
    for labels in (*wrong, torch.zeros(2, 2), torch.zeros(2, 2, 3), torch.zeros(2, 2, dtype=torch.int64)):
        refused(tmp_path / "l", save({**stored, "labels": labels.contiguous()}, metadata))
    del stored["labels"]
    refused(tmp_path / "l", save(stored, metadata))


@pytest.mark.parametrize("name", ["static", "dynamic", "hallucinator.weight", "hallucinator.bias"])
def test_a_missing_tensor_is_refused(tmp_path: Path, name: str) -> None:
    """Not a set that is made up where something is missing."""
    content = to_bytes(sets()[0], WHENCE)
    header = header_of(content)
    header["other"] = header.pop(name)
    refused(tmp_path / "m", with_header(content, header))


@pytest.mark.parametrize("name", ["static.scale", "static.offset", "dynamic.scale"])
def test_a_missing_range_is_refused(tmp_path: Path, name: str) -> None:
    """uint8 without its range is noise."""
    content = to_bytes(sets()[0], WHENCE, "uint8")
    header = header_of(content)
    header["other"] = header.pop(name)
    refused(tmp_path / "m", with_header(content, header))


CHANGES = [
    ("ipc", "0"),
    ("ipc", "-1"),
    ("ipc", "3"),
    ("ipc", "two"),
    ("frames", "0"),
    ("frames", "-1"),
    ("frames", "7"),
    ("frames", "3.0"),
    ("classes", '["a"]'),
    ("classes", "3"),
    ("classes", "null"),
    ("classes", "["),
    ("mean", "[0.5, 0.5]"),
    ("mean", "[0.5, 0.5, null]"),
    ("mean", "[0.5, 0.5, NaN]"),
    ("mean", "[0.5, 0.5, Infinity]"),
    ("std", "[0.5, 0.5, 0.0]"),
    ("std", "[0.5, 0.5, -1.0]"),
    ("std", "[0.5, 0.5, NaN]"),
    ("std", "[0.5, 0.5, Infinity]"),
    ("std", "{}"),
    ("kind", "magic"),
    ("precision", "int4"),
    ("seed", "seven"),
    ("seed", '"seven"'),
    ("step", "[]"),
    ("preset", "7"),
    ("accuracy", "NaN"),
    ("mean", "[0.5, 0.5, 1" + "0" * 400 + "]"),
    ("frames", "9" * 5000),
    ("accuracy", ""),
    ("mean", "[" * 100_000),
]


@pytest.mark.parametrize(("key", "value"), CHANGES, ids=lambda text: text[:20])
@pytest.mark.parametrize("which", [0, 2], ids=["static-dynamic", "static-only"])
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, which: int, key: str, value: str) -> None:
    """Tensors and their description must agree before anything is computed with them."""
    content = to_bytes(sets()[which], WHENCE)
    header = header_of(content)
    header["__metadata__"][key] = value
    if which == 2 and (key, value) == ("frames", "7"):
        return  # a still video can be of any length
    refused(tmp_path / "d", with_header(content, header))


def test_every_description_is_needed(tmp_path: Path) -> None:
    """A file that lost a line of its description."""
    content = to_bytes(sets()[0], WHENCE)
    for key in ("kind", "classes", "ipc", "frames", "mean", "std", "precision", "seed", "accuracy"):
        header = header_of(content)
        del header["__metadata__"][key]
        refused(tmp_path / "d", with_header(content, header))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["static", "dynamic", "hallucinator.weight"])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float, name: str) -> None:
    """One NaN in a memory makes every network trained on it NaN, hours later."""
    synthetic = sets()[0]
    synthetic.tensors()[name].view(-1)[5] = value
    assert "finite" in refused(tmp_path / "n", to_bytes(synthetic, WHENCE)).problem


def test_stills_of_the_wrong_shape_are_refused(tmp_path: Path) -> None:
    """Grey images, or ones of another size, would end in a traceback inside a network."""
    spec = make_spec()
    still = StillVideo(spec, 1, torch.zeros(2, 1, 3, 4, 4))
    still.static = torch.zeros(2, 1, 1, 4, 4)
    refused(tmp_path / "g", to_bytes(still, WHENCE))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """Sets are shared: opening one must never run code."""

    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "harmed"),)

    torch.save({"static": Evil()}, tmp_path / "evil.pt")
    refused(tmp_path / "evil.safetensors", (tmp_path / "evil.pt").read_bytes())
    assert not (tmp_path / "harmed").exists()
