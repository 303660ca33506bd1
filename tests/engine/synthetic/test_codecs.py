"""Codecs: what a user loses here is the picture, or the trust that a set's bytes are those of a real video file."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from engine.errors import UsageError
from engine.synthetic.codecs import H264, Avif, Codec, DamagedStreamError, Jpeg, parse_codec
from engine.synthetic.pictures import resized

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
SHAPES = st.tuples(st.integers(1, 9), st.integers(16, 70), st.integers(16, 70), st.sampled_from([1, 3]))


def smooth(frames: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """A clip of slow waves that drift: what codecs are good at."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    waves = [np.sin(x / (9 + c) + 0.3 * t) + np.cos(y / (11 - c) + 0.2 * c * t) for c in range(channels)]
    return (128 + 50 * np.stack(waves, -1)).round().clip(0, 255).astype(np.uint8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Decibels, of float64 values: no byte of one may be taken from another below zero."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def shown(codec: Codec, clip: np.ndarray) -> np.ndarray:
    return codec.decode(codec.encode(clip), clip.shape)


def nbytes(codec: Codec, clip: np.ndarray) -> int:
    return sum(len(stream) for stream in codec.encode(clip))


def every() -> list[Codec]:
    return [H264(18), H264(30, 16), Jpeg(90), *([Avif(80)] if features.check("avif") else [])]


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["h264-0", "h264-35@48", "jpeg-80", "jpeg-1@16"])
def test_a_codec_is_named_as_it_is_parsed(text: str) -> None:
    """A row of a table names the codec that made it, and that name makes it again."""
    assert str(parse_codec(text)) == text


@pytest.mark.parametrize("text", ["", "h264", "h264-", "h265-23", "h264-2x", "h264-23@", "uint8", "h264-23@48@48"])
def test_what_is_no_codec_is_none(text: str) -> None:
    """Its caller knows what else it might be, and says so in one message."""
    assert parse_codec(text) is None


@pytest.mark.parametrize("text", ["h264-52", "jpeg-0", "jpeg-96", "h264-23@7"])
def test_numbers_that_a_codec_does_not_have_are_refused(text: str) -> None:
    """They would otherwise be clipped in silence by the library, and a table would show settings nobody ran."""
    with pytest.raises(UsageError) as caught:
        parse_codec(text)
    assert caught.value.hint and "\n" not in caught.value.problem


def test_avif_is_refused_where_pillow_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before hours of work are put into a set that cannot be stored."""
    monkeypatch.setattr("engine.synthetic.codecs.features.check", lambda name: False)
    with pytest.raises(UsageError, match="AVIF"):
        parse_codec("avif-50")


# --- frames come back ------------------------------------------------------------------------------------------------


@given(SHAPES)
def test_any_clip_comes_back_in_its_shape(shape: tuple[int, int, int, int]) -> None:
    """Odd sides, one frame, gray: 4:2:0 has no half pixels, and none may be lost or shifted."""
    clip = smooth(*shape)
    back = shown(H264(18), clip)
    assert back.shape == clip.shape and back.dtype == np.uint8
    # Chroma has a quarter of the values, so a picture's own edges cost more in colour than in gray.
    assert psnr(clip, back) > (35 if shape[3] == 3 else 38)


@given(SHAPES)
def test_gray_at_quality_0_is_lossless(shape: tuple[int, int, int, int]) -> None:
    """The dynamic memory has one channel: nothing but the quantiser may change it, and crf 0 has none."""
    gray = noise(*shape[:3], 1)
    assert np.array_equal(shown(H264(0), gray), gray)
    colourless = np.repeat(gray, 3, axis=3)
    assert np.array_equal(shown(H264(0), colourless), colourless)


@pytest.mark.parametrize("height, width", [(16, 18), (17, 21)])
def test_the_planes_in_an_h264_stream_are_jfif_colours(height: int, width: int) -> None:
    """Any player shows the right colours: full range BT.601, chroma as the mean of two by two."""
    clip = noise(2, height, width, 3)
    with av.open(io.BytesIO(H264(0).encode(clip)[0]), format="h264") as container:
        pictures = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert len(pictures) == 2
    wide = width + width % 2
    padded = np.pad(clip, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(np.float64)
    for frame, planes in zip(padded, pictures, strict=True):
        red, green, blue = frame[..., 0], frame[..., 1], frame[..., 2]
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        high = luma.shape[0]
        assert np.abs(planes[:high] - luma).max() <= 0.501
        quarters = planes[high:].reshape(2, high // 2, wide // 2)
        for chroma, plane in (((blue - luma) / 1.772, quarters[0]), ((red - luma) / 1.402, quarters[1])):
            by_hand = 128 + (chroma[::2, ::2] + chroma[1::2, ::2] + chroma[::2, 1::2] + chroma[1::2, 1::2]) / 4
            assert np.abs(plane - by_hand.clip(0, 255)).max() <= 0.501


def test_a_player_shows_the_colours_that_are_trained_on() -> None:
    """A stream says its matrix and its range; players round and enlarge chroma in their own ways, by a level.

    The wrong range would be 16 levels of black, the wrong matrix several of red.
    """
    clip = smooth(5, 32, 48)
    stream = H264(18).encode(clip)[0]
    with av.open(io.BytesIO(stream), format="h264") as container:
        played = np.stack([picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)])
    cast = played.mean(axis=(0, 1, 2)) - H264(18).decode([stream], clip.shape).mean(axis=(0, 1, 2))
    assert np.abs(cast).max() < 1.5 and psnr(played, clip) > 35


@settings(max_examples=25)
@given(SHAPES, st.sampled_from([18, 23, 28, 35]))
def test_smooth_clips_are_as_good_as_the_quantiser_lets_them(shape: tuple[int, int, int, int], crf: int) -> None:
    """A rate factor that did not reach the encoder would make another rival than the one that a table names.

    H.264 quantises an orthonormal transform at steps of 0.625 * 2^(QP / 6): where values are rounded to a step, their
    mean square error is at most step^2 / 12. x264 takes a QP of up to 6 above its rate factor, which is twice the step.
    Blue is Y' + 1.772 Cb, and has 1 + 1.772^2 times their errors; what 8 bits round is another 1/12 for each.
    """
    clip = smooth(*shape)
    step = 2 * 0.625 * 2 ** (crf / 6)
    gain = 1 if shape[3] == 1 else 1 + 1.772**2
    error = np.mean((shown(H264(crf), clip).astype(np.float64) - clip) ** 2)
    assert error <= gain * (step**2 / 12 + 1 / 6)


def test_colours_of_an_even_surface_come_back() -> None:
    """Where there is no edge, 4:2:0 loses nothing but the rounding of three bytes."""
    for colour in noise(30, 3):
        clip = np.broadcast_to(colour, (1, 16, 16, 3)).copy()
        assert np.abs(shown(H264(0), clip).astype(int) - clip).max() <= 2


def test_stills_are_what_any_reader_shows() -> None:
    """A JPEG here is a JPEG: nothing is kept outside of its bytes."""
    clip = smooth(3, 20, 24)
    codec = Jpeg(80)
    streams = codec.encode(clip)
    by_hand = [np.asarray(Image.open(io.BytesIO(stream)).convert("RGB")) for stream in streams]
    assert np.array_equal(codec.decode(streams, clip.shape), np.stack(by_hand))
    assert psnr(clip, np.stack(by_hand)) > 30
    gray = clip[..., :1]
    assert psnr(gray, shown(codec, gray)) > 30


@needs_avif
def test_avif_comes_back_alike() -> None:
    """Colour and gray, at an odd size."""
    clip = smooth(2, 33, 47)
    assert psnr(clip, shown(Avif(80), clip)) > 30 and psnr(clip[..., :1], shown(Avif(80), clip[..., :1])) > 30


def test_a_better_quality_costs_bytes_and_is_nearer() -> None:
    """Otherwise the grid of an equal-bytes rival would be searched the wrong way round."""
    clip = smooth(8, 48, 48) // 2 + noise(8, 48, 48, 3) // 4
    for codecs in ([H264(crf) for crf in (18, 28, 38)], [Jpeg(quality) for quality in (90, 60, 20)]):
        sizes = [nbytes(codec, clip) for codec in codecs]
        errors = [-psnr(clip, shown(codec, clip)) for codec in codecs]
        assert sizes == sorted(sizes, reverse=True) and errors == sorted(errors)


# --- smaller pictures ------------------------------------------------------------------------------------------------


def cubic(row: np.ndarray, number: int) -> np.ndarray:
    """``row`` enlarged to ``number`` values by cubic convolution (Keys 1981, a = -1/2) in float64.

    Beyond the edges there is nothing: what weights remain are scaled to a sum of 1, as Pillow does.
    """

    def weight(distance: float) -> float:
        s, a = abs(distance), -0.5
        if s <= 1:
            return (a + 2) * s**3 - (a + 3) * s**2 + 1
        return a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a if s < 2 else 0.0

    values = []
    for place in range(number):
        centre = (place + 0.5) * len(row) / number - 0.5
        weights = [weight(centre - k) for k in range(len(row))]
        values.append(sum(w * float(value) for w, value in zip(weights, row, strict=True)) / sum(weights))
    return np.array(values)


def test_frames_are_enlarged_bicubically() -> None:
    """To the value that the formula gives, rounded: a set that is stored small is not shifted by half a pixel."""
    small = noise(1, 6, 5, 1)
    rows = np.stack([cubic(row, 13) for row in small[0, :, :, 0]])
    both = np.stack([cubic(column, 11) for column in rows.T]).T
    assert np.abs(resized(small, (11, 13))[0, :, :, 0] - both.clip(0, 255)).max() <= 0.51


def test_a_size_stores_fewer_pixels_and_shows_all() -> None:
    """Where the clip is larger than that; a smaller one is not enlarged to take more bytes."""
    clip = smooth(4, 40, 48)
    codec = H264(20, 16)
    small = codec.encode(clip)
    with av.open(io.BytesIO(small[0]), format="h264") as container:
        assert {(frame.height, frame.width) for frame in container.decode(video=0)} == {(16, 16)}
    assert codec.decode(small, clip.shape).shape == clip.shape
    assert nbytes(codec, clip) < nbytes(H264(20), clip) and psnr(clip, shown(codec, clip)) > 25
    assert H264(20, 64).encode(clip) == H264(20).encode(clip)


@given(st.integers(16, 60), st.integers(8, 60), st.integers(0, 3), st.integers(0, 40))
def test_scaling_keeps_ramps(side: int, stored: int, slope: int, least: int) -> None:
    """Smaller or larger, a straight ramp stays one away from the edges: nothing is moved, and no brightness changed.

    The centre of pixel x of the new row is at (x + 0.5) * side / stored - 0.5 of the old one. Enlarging gives the ramp
    itself, rounded; where a row shrinks the filter's taps are not exactly symmetric, and a tenth of a level is theirs.
    """
    ramp = np.broadcast_to((least + slope * np.arange(side))[None, None, :, None], (1, side, side, 1)).astype(np.uint8)
    at = (np.arange(stored) + 0.5) * side / stored - 0.5
    inner = (at >= 2 * max(1, side / stored)) & (at <= side - 1 - 2 * max(1, side / stored))
    off = np.abs(resized(ramp, (stored, stored))[0, stored // 2, :, 0] - (least + slope * at))
    assert off[inner].max(initial=0) <= (0.501 if stored >= side else 0.6)


# --- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", every(), ids=str)
def test_the_same_frames_give_the_same_bytes(codec: Codec) -> None:
    """Also from several threads at once: a set's file is the same on the next day and on a busy machine."""
    clip = smooth(5, 34, 30)
    first = codec.encode(clip)
    with ThreadPoolExecutor(4) as pool:
        assert all(again == first for again in pool.map(codec.encode, [clip] * 8))
    assert len(first) == codec.streams(5)


def test_an_h264_stream_holds_pictures_and_what_they_need() -> None:
    """One key frame, one unit for each other frame, two parameter sets, and no 680 bytes of an encoder's remarks."""
    stream = H264(23).encode(smooth(6, 32, 32))[0]
    units = [unit[0] & 31 for unit in stream.split(b"\0\0\1")[1:]]
    assert units[:3] == [7, 8, 5] and units[3:] == [1] * 5


def test_pictures_of_a_jpeg_setting_begin_alike() -> None:
    """The file that holds them stores that once: it is most of a small picture."""
    streams = [Jpeg(50).encode(noise(1, 64, 64, 3) // (k + 1))[0] for k in range(3)]
    assert len({stream[:600] for stream in streams}) == 1


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", every(), ids=str)
def test_streams_of_another_shape_are_refused(codec: Codec) -> None:
    """A file that says another size than its streams have would else fill a memory with somebody else's pixels."""
    clip = smooth(4, 24, 26)
    streams = codec.encode(clip)
    for shape in ((4, 24, 12, 3), (4, 10, 26, 3), (3, 24, 26, 3), (5, 24, 26, 3)):
        with pytest.raises(DamagedStreamError):
            codec.decode(streams, shape)
    with pytest.raises(DamagedStreamError):
        codec.decode([], clip.shape)
    with pytest.raises(DamagedStreamError):
        codec.decode([b"\0\0\1"] * len(streams), clip.shape)


@pytest.mark.parametrize(
    "codec, kept", [(H264(23), 0.9), (Jpeg(60), 0.9), pytest.param("avif-60", 0.5, marks=needs_avif)], ids=str
)
def test_streams_that_end_in_rubbish_are_refused(codec: Codec | str, kept: float) -> None:
    """FFmpeg would paint over the hole with what is near it, and AVIF raises errors that no other picture does."""
    made = parse_codec(codec) if isinstance(codec, str) else codec
    assert made is not None
    clip = smooth(4, 32, 32) // 2 + noise(4, 32, 32, 3) // 4
    streams = [stream[: int(len(stream) * kept)].ljust(len(stream), b"\x55") for stream in made.encode(clip)]
    with pytest.raises(DamagedStreamError):
        made.decode(streams, clip.shape)


@given(st.sampled_from(every()), st.data())
def test_damaged_streams_give_frames_or_an_error(codec: Codec, data: st.DataObject) -> None:
    """Never another exception, nor frames of another shape: a download that broke off is told as such."""
    clip = smooth(3, 20, 22)
    streams = codec.encode(clip)
    which = data.draw(st.integers(0, len(streams) - 1))
    stream = bytearray(streams[which])
    for _ in range(data.draw(st.integers(0, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    streams[which] = bytes(stream[: data.draw(st.integers(0, len(stream)))])
    try:
        back = codec.decode(streams, clip.shape)
    except DamagedStreamError:
        return
    assert back.shape == clip.shape and back.dtype == np.uint8
