"""Streams: what a user loses here is the picture, the bytes that it was to save, or the trust in a downloaded file."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from engine.errors import DataError, UsageError
from engine.synthetic import streams
from engine.synthetic.pictures import to_planes
from engine.synthetic.streams import Coding

AVIF = features.check("avif")
CODECS = ["h264-28", "h264-28:444", "jpeg-60", "jpeg-60:444", *(["av1-25", "av1-25:444", "avif-25"] if AVIF else [])]
needs_avif = pytest.mark.skipif(not AVIF, reason="Pillow without AVIF")
SHAPES = st.tuples(
    *(st.integers(1, most) for most in (3, 4)), st.integers(8, 40), st.integers(8, 40), st.sampled_from([1, 3])
)


def smooth(clips: int, frames: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Clips of slow waves that drift, each in its own phase: what codecs are good at."""
    n, t, y, x = np.meshgrid(*(np.arange(size) for size in (clips, frames, height, width)), indexing="ij")
    waves = [np.sin(x / (9 + c) + 0.3 * t + n) + np.cos(y / (11 - c) + 0.2 * c * t) for c in range(channels)]
    return (128 + 50 * np.stack(waves, -1)).round().clip(0, 255).astype(np.uint8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def shown(text: str, clips: np.ndarray) -> np.ndarray:
    coding = Coding.parse(text)
    return coding.decode(coding.encode(clips), clips.shape)  # type: ignore[arg-type]


def units_by_hand(content: bytes) -> list[bytes]:
    """What the format says: each unit behind its length, seven bits a byte, the least first."""
    units, rest = [], io.BytesIO(content)
    while first := rest.read(1):
        digits = [first[0]]
        while digits[-1] & 128:
            digits.append(rest.read(1)[0])
        units.append(rest.read(sum((digit & 127) << 7 * place for place, digit in enumerate(digits))))
    return units


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["uint8", "uint8@16:repeat1", "float16", "float32", "h264-35", "h264-0@half", "h264-35@32:linear4:444"]
)
def test_a_coding_is_named_as_it_is_parsed(text: str) -> None:
    """A row of a table names the coding that made it, and that name makes it again."""
    assert str(Coding.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "h264", "h264-", "h264-52", "h265-23", "jpeg-0", "uint8-3", "uint8:444", "float32@32", "float16:repeat2"),
        *("h264-23@7", "h264-23:repeat0", "h264-23:4", "h264-23:445", "h264-23@third", "h264-23 ", "av1-101", "?"),
    ],
)
def test_codings_that_there_are_not_are_refused(text: str) -> None:
    """They would otherwise be clipped in silence by a library, and a table would show settings nobody ran."""
    with pytest.raises(UsageError) as caught:
        Coding.parse(text)
    assert caught.value.hint and "\n" not in caught.value.problem


def test_av1_is_refused_where_pillow_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before hours of work are put into a set that cannot be stored."""
    monkeypatch.setattr("engine.synthetic.streams.features.check", lambda name: False)
    with pytest.raises(UsageError, match="AVIF"):
        Coding.parse("av1-10")


# --- clips come back -------------------------------------------------------------------------------------------------


@given(SHAPES, st.sampled_from(CODECS))
def test_any_group_comes_back_in_its_shape(shape: tuple[int, int, int, int, int], text: str) -> None:
    """Odd sides, one frame, one clip, gray: no pixel may be lost or shifted, and no clip take another's place.

    The bound: these waves have a deviation of 50, which a picture of another clip would miss by as much (11 dB).
    """
    clips = smooth(*shape)
    back = shown(text, clips)
    assert back.shape == clips.shape and back.dtype == np.uint8
    assert min(psnr(one, other) for one, other in zip(clips, back, strict=True)) > 24


@given(SHAPES)
def test_bytes_are_stored_exactly(shape: tuple[int, int, int, int, int]) -> None:
    """Raw bytes, and gray H.264 at rate factor 0, lose nothing at all."""
    clips = noise(*shape)
    assert np.array_equal(shown("uint8", clips), clips) and len(Coding.parse("uint8").encode(clips)) == clips.size
    assert np.array_equal(shown("h264-0", clips[..., :1]), clips[..., :1])


@given(st.lists(st.floats(-60_000, 60_000, width=16), min_size=12, max_size=12))
def test_numbers_are_stored_as_their_type_holds_them(values: list[float]) -> None:
    """Memories leave the range of pixels: float16 keeps 11 bits of each, float32 all of what was learned."""
    clips = np.array(values, np.float32).reshape(1, 2, 2, 1, 3)
    for text, size in (("float16", 2), ("float32", 4)):
        assert np.array_equal(shown(text, clips), clips)
        assert len(Coding.parse(text).encode(clips)) == size * clips.size
    nearer = clips * np.float32(1 + 2**-13)
    assert np.array_equal(shown("float32", nearer), nearer)


def test_numbers_beyond_float16_are_refused() -> None:
    """They would come back infinite."""
    with pytest.raises(DataError, match="float16"):
        Coding.parse("float16").encode(np.full((1, 1, 8, 8, 1), 1e5))


@pytest.mark.parametrize("text", CODECS)
def test_every_clip_is_shown_as_if_it_were_alone(text: str) -> None:
    """A set is the same whichever classes are looked at; and one clip may be encoded anew without the others."""
    coding, clips = Coding.parse(text), smooth(3, 4, 24, 32)
    together = coding.decode(coding.encode(clips), clips.shape)  # type: ignore[arg-type]
    alone = [coding.decode(coding.encode(clip[None]), (1, *clip.shape))[0] for clip in clips]  # type: ignore[arg-type]
    assert np.array_equal(together, np.stack(alone))
    coded = [coding.encode_clip(clip) for clip in clips]
    coded[1] = coding.encode_clip(clips[2])
    swapped = coding.decode(coding.join(coded), clips.shape)  # type: ignore[arg-type]
    assert np.array_equal(swapped, together[[0, 2, 2]])


@pytest.mark.parametrize("text", ["h264-40", *(["av1-0"] if AVIF else [])])
def test_full_chroma_is_nearer(text: str) -> None:
    """444 keeps the colours of small things, or nobody would pay for them."""
    clips = np.zeros((1, 1, 32, 32, 3), np.uint8)
    clips[..., ::2, 0], clips[..., 1::2, 2] = 200, 200
    good = text.replace("40", "10").replace("-0", "-90")
    assert psnr(shown(good + ":444", clips), clips) > psnr(shown(good, clips), clips) + 10


# --- smaller, and fewer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side, stored", [("half", (12, 17)), ("quarter", (6, 9)), ("16", (16, 16)), ("64", (23, 33))])
def test_a_side_stores_fewer_pixels_and_shows_all(side: str, stored: tuple[int, int]) -> None:
    """Half of an odd side is rounded up; a clip that is smaller anyway is not enlarged to take more bytes."""
    clips = smooth(2, 3, 23, 33)
    coding = Coding.parse(f"uint8@{side}")
    content = coding.encode(clips)
    assert len(content) == 2 * 3 * stored[0] * stored[1] * 3
    assert psnr(coding.decode(content, clips.shape), clips) > 25  # type: ignore[arg-type]


@given(st.integers(1, 6), st.integers(1, 8), st.sampled_from(["repeat", "linear"]))
def test_few_frames_stand_for_all(frames: int, stored: int, how: str) -> None:
    """A clip that the stored frames can show is shown to the rounding of a byte; more frames than it has are not kept.

    By hand: frame t shows stored frame floor(t k / T); linear goes from one stored frame to the next between the
    middles of the times that they stand for.
    """
    kept = min(frames, stored)
    base = 8 * noise(kept, 8, 8, 3).astype(np.float64) // 8
    at = np.arange(frames)
    if how == "repeat":
        clip = base[at * kept // frames]
    else:
        place = ((at + 0.5) * kept / frames - 0.5).clip(0, kept - 1)
        low, high = np.floor(place).astype(int), np.ceil(place).astype(int)
        share = (place - low)[:, None, None, None]
        clip = (1 - share) * base[low] + share * base[high]
    clips = clip.round().astype(np.uint8)[None]
    coding = Coding.parse(f"uint8:{how}{stored}")
    content = coding.encode(clips)
    assert len(content) == kept * 8 * 8 * 3
    off = np.abs(coding.decode(content, clips.shape).astype(int) - clips)  # type: ignore[arg-type]
    assert off.max() <= (0 if how == "repeat" or kept == frames else 3)


# --- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", CODECS)
def test_the_same_clips_give_the_same_bytes(text: str) -> None:
    """Also from several threads at once: a set's file is the same on the next day and on a busy machine."""
    coding = Coding.parse(text)
    clips = smooth(2, 4, 34, 30) // 2 + noise(2, 4, 34, 30, 3) // 4
    first = coding.encode(clips)
    with ThreadPoolExecutor(8) as pool:
        assert all(again == first for again in pool.map(coding.encode, [clips] * 24))


@pytest.mark.parametrize("text", CODECS)
def test_a_head_is_stored_once(text: str) -> None:
    """Of a group of forty still clips of one colour nothing may be left but the pictures."""
    coding = Coding.parse(text)
    clips = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None, None] * 6, (40, 1, 16, 16, 3))
    one, all_ = len(coding.encode(clips[:1])), len(coding.encode(clips))
    assert all_ < 40 * 30 and all_ - one < 39 * one
    head = len(coding.encode_clip(clips[0]).head)
    assert len(units_by_hand(coding.encode(clips))) == head + 40


def test_a_group_of_h264_is_a_stream_that_any_player_shows() -> None:
    """Without our code: start codes in the places of lengths. No byte is spent on what x264 says of itself."""
    clips = smooth(3, 5, 24, 32)
    content = Coding.parse("h264-23").encode(clips)
    units = units_by_hand(content)
    assert [unit[0] & 31 for unit in units] == [7, 8] + 3 * [5, 1, 1, 1, 1] and b"x264" not in content
    start = b"\0\0\1"
    played = []
    for first in range(2, len(units), 5):
        stream = b"".join(start + unit for unit in units[:2] + units[first : first + 5])
        with av.open(io.BytesIO(stream), format="h264") as container:
            played += [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    assert psnr(np.stack(played).reshape(clips.shape), clips) > 30


@needs_avif
@pytest.mark.parametrize("text, frames", [("av1-50", 5), ("av1-50", 1), ("avif-50", 2)])
def test_a_group_of_av1_is_a_stream_that_any_decoder_shows(text: str, frames: int) -> None:
    """Without our code: a header byte before each length, and all of it in one piece."""
    clips = smooth(3, frames, 24, 32)
    units = units_by_hand(Coding.parse(text).encode(clips))
    sizes = [len(unit).to_bytes(1, "big") if len(unit) < 128 else None for unit in units]
    stream = b""
    for place, (unit, size) in enumerate(zip(units, sizes, strict=True)):
        kind = b"\x0a" if place == 0 else b"\x1a" if unit[0] & 128 else b"\x32"
        length = size or bytes([len(unit) & 127 | 128, len(unit) >> 7])
        stream += kind + length + unit
    decoder = av.CodecContext.create("libdav1d", "r")
    pictures = [picture for packet in (av.Packet(stream), None) for picture in decoder.decode(packet)]  # type: ignore
    luma = np.stack([picture.to_ndarray()[:24] for picture in pictures]).reshape(clips.shape[:4])
    assert psnr(luma, clips @ np.array([0.299, 0.587, 0.114])) > 30
    assert len(units[0]) < 14


def test_a_group_of_jpeg_is_files_that_pillow_shows() -> None:
    """Without our code: the marks of a file's ends around head and scan."""
    clips = smooth(2, 2, 24, 32)
    head, *scans = units_by_hand(Coding.parse("jpeg-80").encode(clips))
    files = [b"\xff\xd8" + head + scan + b"\xff\xd9" for scan in scans]
    by_hand = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    assert np.array_equal(np.stack(by_hand).reshape(clips.shape), shown("jpeg-80", clips))
    assert psnr(np.stack(by_hand).reshape(clips.shape), clips) > 30


def test_a_better_quality_costs_bytes_and_is_nearer() -> None:
    """Otherwise a budget would be searched the wrong way round."""
    clips = smooth(1, 4, 48, 48) // 2 + noise(1, 4, 48, 48, 3) // 4
    for texts in (
        ("h264-18", "h264-28", "h264-38"),
        ("jpeg-90", "jpeg-60", "jpeg-20"),
        *([("av1-60", "av1-30", "av1-5"), ("avif-60", "avif-30", "avif-5")] if AVIF else []),
    ):
        sizes = [len(Coding.parse(text).encode(clips)) for text in texts]
        errors = [-psnr(clips, shown(text, clips)) for text in texts]
        assert sizes == sorted(sizes, reverse=True) and errors == sorted(errors)


def usual_h264(clip: np.ndarray, crf: int) -> tuple[bytes, np.ndarray]:
    """An Annex B stream of one clip as x264's defaults for the eye make it, without its remarks; and what it shows."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width, encoder.pix_fmt = clip.shape[1], clip.shape[2], "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    encoder.options = {"crf": str(crf), "preset": "veryslow", "x264-params": "scenecut=0:keyint=infinite"}
    packets = []
    for number, planes in enumerate(to_planes(clip)):
        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts = number
        packets += encoder.encode(picture)
    stream = b"".join(bytes(packet) for packet in [*packets, *encoder.encode(None)])
    units = stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    stream = b"".join(b"\0\0\1" + unit for unit in units if unit[0] & 31 != 6)
    with av.open(io.BytesIO(stream), format="h264") as container:
        return stream, np.stack([picture.to_ndarray() for picture in container.decode(video=0)])


def test_h264_takes_fewer_bytes_than_whole_streams_do() -> None:
    """What this module is for: at equal error a small clip takes a tenth less than as a stream of its own."""
    clips = smooth(4, 8, 32, 32) // 2 + noise(4, 1, 32, 32, 3) // 8
    whole = [usual_h264(clip, 35) for clip in clips]
    alone = sum(len(stream) for stream, _ in whole)
    before = psnr(np.stack([planes for _, planes in whole]), np.stack([to_planes(clip) for clip in clips]))
    planes = np.stack([to_planes(clip) for clip in clips])

    def ours(crf: int) -> float:
        return psnr(np.stack([to_planes(clip) for clip in shown(f"h264-{crf}", clips)]), planes)

    better = next(crf for crf in range(51, 0, -1) if ours(crf) >= before)
    assert len(Coding.parse(f"h264-{better}").encode(clips)) < 0.9 * alone


# --- damage ----------------------------------------------------------------------------------------------------------

CLIPS = smooth(2, 3, 24, 26)
CONTENTS = {text: Coding.parse(text).encode(CLIPS) for text in ["uint8", "float16", *CODECS]}


@pytest.mark.parametrize("text", CONTENTS)
@pytest.mark.parametrize(
    "shape", [(3, 3, 24, 26, 3), (1, 3, 24, 26, 3), (2, 4, 24, 26, 3), (2, 3, 48, 26, 3), (2, 3, 24, 12, 3)]
)
def test_groups_of_another_shape_are_refused(text: str, shape: tuple[int, int, int, int, int]) -> None:
    """A file that says another size than its streams have would else fill a memory with somebody else's pixels."""
    with pytest.raises(DataError) as caught:
        Coding.parse(text).decode(CONTENTS[text], shape)
    assert "\n" not in caught.value.problem and caught.value.hint


@pytest.mark.parametrize("text", ["h264-30@8:repeat1", "uint8@8:repeat1"])
@pytest.mark.parametrize(
    "shape",
    [
        *((1, 1, 8192, 8192, 3), (1, 1 << 40, 8, 8, 3), (1 << 40, 1, 8, 8, 3), (1, 1, 1 << 14, 8, 3)),
        *((1, 0, 8, 8, 3), (-1, -1, 8, 8, 3), (1, 1, 8, 8, 2), (1, 1.0, 8, 8, 3), (True, 1, 8, 8, 3)),
    ],
    ids=str,
)
def test_a_few_bytes_cannot_claim_huge_clips(text: str, shape: tuple[int, int, int, int, int]) -> None:
    """Stored as one picture of 8 x 8, any shown size fits: a file of 300 bytes would ask for gigabytes."""
    content = Coding.parse(text).encode(smooth(1, 1, 8, 8))
    with pytest.raises(DataError):
        Coding.parse(text).decode(content, shape)


@needs_avif
def test_frames_that_are_shown_again_and_again_are_refused() -> None:
    """AV1 shows a frame again for three bytes: a small file would fill the memory before anything is wrong."""
    content = Coding.parse("av1-10").encode(CLIPS[:1])
    with pytest.raises(DataError, match="units"):
        Coding.parse("av1-10").decode(content + b"\x01\x98" * 1000, (1, 3, 24, 26, 3))


@pytest.mark.parametrize("text", [text for text in CODECS if text.startswith(("h264", "av"))])
def test_larger_pictures_than_declared_are_never_made(text: str) -> None:
    """The decoder itself is told the most pixels that there may be, before it takes memory for more."""
    large = Coding.parse(text).encode(smooth(1, 1, 256, 256))
    with pytest.raises(DataError, match="decoded"):
        Coding.parse(text).decode(large, (1, 1, 16, 16, 3))


@given(st.sampled_from(sorted(CONTENTS)), st.data())
def test_damaged_groups_give_clips_or_an_error(text: str, data: st.DataObject) -> None:
    """Cut, changed or grown, never another exception, nor clips of another shape."""
    content = bytearray(CONTENTS[text])
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    kept = bytes(content[: data.draw(st.integers(0, len(content)))]) + data.draw(st.binary(max_size=9))
    try:
        back = Coding.parse(text).decode(kept, CLIPS.shape)  # type: ignore[arg-type]
    except DataError as error:
        assert "\n" not in error.problem and error.hint
        return
    assert back.shape == CLIPS.shape


@settings(max_examples=200)
@given(st.sampled_from(CODECS), st.binary(max_size=60))
def test_rubbish_is_refused(text: str, content: bytes) -> None:
    """Whatever it is, it is told as damage."""
    with pytest.raises(DataError):
        Coding.parse(text).decode(content, CLIPS.shape)  # type: ignore[arg-type]


@given(st.integers(0, (1 << 35) - 1))
def test_lengths_are_leb128(number: int) -> None:
    """As AV1 has them, so that a decoder's reader is ours; the number by its definition."""
    coded = streams._varint(number)
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(coded)) == number
    assert [byte >> 7 for byte in coded] == [1] * (len(coded) - 1) + [0] and (len(coded) == 1 or coded[-1])
    assert streams._read_varint(b"x" + coded + b"y", 1) == (number, 1 + len(coded))
