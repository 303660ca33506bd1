"""Frames in, clips out: the sampling rule, the geometry, and files that are broken in many ways."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data import decode
from engine.data.decode import DecodedVideo, Sampling, SkippedVideo, read_video
from engine.errors import UsageError
from tests.videos import grey_ramp, ramp_numbers, write_image, write_video


def clips_of(path: Path, sampling: Sampling) -> np.ndarray:
    outcome = read_video(path, sampling)
    assert isinstance(outcome, DecodedVideo), outcome
    return outcome.clips


def reason_of(path: Path) -> str:
    outcome = read_video(path, Sampling(4, 32))
    assert isinstance(outcome, SkippedVideo)
    assert outcome.reason.isprintable()
    return outcome.reason


def expected_indices(length: int, frames: int, interval: int, clips: int) -> list[list[int]]:
    """The rule once more, frame by frame."""
    step = interval
    if length < frames * interval:
        step = length // frames
        if step == 0:
            step = 1
    last_start = length - 1
    while last_start > 0 and last_start + (frames - 1) * step > length - 1:
        last_start -= 1
    starts = [last_start // 2] if clips == 1 else [last_start * k // (clips - 1) for k in range(clips)]
    return [[min(start + t * step, length - 1) for t in range(frames)] for start in starts]


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 8), st.integers(1, 5))
def test_sampling_rule(length: int, frames: int, interval: int, clips: int) -> None:
    """Other frames than published would make every accuracy incomparable."""
    found = Sampling(frames, 32, interval, clips).indices(length)
    assert found.dtype == np.int32
    assert found.tolist() == expected_indices(length, frames, interval, clips)


@pytest.mark.parametrize(
    ("length", "frames", "interval", "expected"),
    [
        (100, 4, 4, [43, 47, 51, 55]),  # middle of a long video
        (16, 4, 4, [1, 5, 9, 13]),
        (15, 4, 4, [2, 5, 8, 11]),  # shorter than frames * interval: step 15 // 4
        (4, 4, 4, [0, 1, 2, 3]),
        (2, 4, 4, [0, 1, 1, 1]),  # the last one repeated
    ],
)
def test_sampling_by_hand(length: int, frames: int, interval: int, expected: list[int]) -> None:
    assert Sampling(frames, 32, interval).indices(length).tolist() == [expected]


@pytest.mark.parametrize("option", ["frames", "size", "interval", "clips_per_video"])
def test_impossible_options_are_named(option: str) -> None:
    with pytest.raises(UsageError, match=option.replace("_", "-")):
        Sampling(**{"frames": 8, "size": 64, option: 0})
    with pytest.raises(UsageError, match="size"):
        Sampling(8, 10**6)


def test_published_sizes() -> None:
    assert Sampling(8, 112).resized == (160, 120)
    assert Sampling(8, 64).resized == (91, 69)
    assert Sampling(8, 7).resized == (10, 8)  # 7.5 rounded up


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".webm"])
def test_containers(tmp_path: Path, suffix: str) -> None:
    """Each official data set comes in another container; the frames must be the same."""
    path = write_video(tmp_path / f"v{suffix}", grey_ramp(20))
    outcome = read_video(path, Sampling(4, 32, 2))
    assert isinstance(outcome, DecodedVideo)
    assert outcome.length == 20
    assert outcome.clips.shape == (1, 4, 32, 32, 3)
    assert ramp_numbers(outcome.clips[0]) == [6, 8, 10, 12]


def test_several_clips(tmp_path: Path) -> None:
    clips = clips_of(write_video(tmp_path / "v.mp4", grey_ramp(20)), Sampling(4, 32, 1, 3))
    assert [ramp_numbers(clip) for clip in clips] == [[0, 1, 2, 3], [8, 9, 10, 11], [16, 17, 18, 19]]


def marked(height: int, width: int) -> np.ndarray:
    """One white column at each side, grey between."""
    frames = np.full((4, height, width, 3), 100, np.uint8)
    frames[:, :, :4] = frames[:, :, -4:] = 250
    return frames


def test_own_size_keeps_its_border(tmp_path: Path) -> None:
    """Videos that were cropped before would lose a quarter of the picture again."""
    clip = clips_of(write_video(tmp_path / "v.mp4", marked(32, 32)), Sampling(4, 32))[0]
    assert clip[:, :, 1].min() > 220
    assert clip[:, :, 16].max() < 130


def test_other_sizes_are_resized_then_cropped(tmp_path: Path) -> None:
    """The aspect is ignored as published: 160 x 120 and 320 x 120 give the same picture, without the sides."""
    sampling = Sampling(4, 32)
    usual = clips_of(write_video(tmp_path / "v.mp4", marked(120, 160)), sampling)[0]
    wide = clips_of(write_video(tmp_path / "w.mp4", marked(120, 320)), sampling)[0]
    assert usual.shape == wide.shape == (4, 32, 32, 3)
    assert usual.max() < 130
    assert wide.max() < 130


def test_centre_of_the_crop(tmp_path: Path) -> None:
    """A white half must end in the middle of the crop, not at some other column."""
    frames = np.zeros((2, 120, 160, 3), np.uint8)
    frames[:, :, 80:] = 255
    clip = clips_of(write_video(tmp_path / "v.mp4", frames), Sampling(2, 112))[0]
    assert clip[:, :, :53].max() < 40
    assert clip[:, :, 59:].min() > 215


def test_frame_folder(tmp_path: Path) -> None:
    """Names with % are patterns to FFmpeg; natural order is time."""
    ramp = grey_ramp(12)
    for number in range(12):
        write_image(tmp_path / f"frames/%d {number}.{'png' if number % 2 else 'jpg'}", ramp[number])
    outcome = read_video(tmp_path / "frames", Sampling(4, 32, 3))
    assert isinstance(outcome, DecodedVideo)
    assert outcome.length == 12
    assert ramp_numbers(outcome.clips[0]) == [1, 4, 7, 10]


def test_image_with_another_suffix_is_read(tmp_path: Path) -> None:
    """Downloads are full of JPEG files called .png."""
    write_image(tmp_path / "x.jpg", grey_ramp(1)[0])
    (tmp_path / "f").mkdir()
    (tmp_path / "x.jpg").rename(tmp_path / "f/1.png")
    assert clips_of(tmp_path / "f", Sampling(1, 32)).shape == (1, 1, 32, 32, 3)


def test_damaged_image_is_skipped(tmp_path: Path) -> None:
    write_image(tmp_path / "f/1.jpg", grey_ramp(1)[0])
    (tmp_path / "f/2.jpg").write_bytes(b"no image")
    assert reason_of(tmp_path / "f")


def test_metadata_that_is_not_utf8(tmp_path: Path) -> None:
    """Real HMDB51 files have it; it must not cost the video."""
    path = write_video(tmp_path / "v.avi", grey_ramp(8), metadata={"title": "PLACEHOLDER"})
    content = path.read_bytes()
    assert b"PLACEHOLDER" in content
    path.write_bytes(content.replace(b"PLACEHOLDER", b"\xff\xfe\xe9LACEHOLD"))
    assert clips_of(path, Sampling(4, 32)).shape == (1, 4, 32, 32, 3)


def test_broken_files_are_skipped_in_plain_words(tmp_path: Path) -> None:
    """One broken download of 240,000 must not end a prepare that took a day."""
    whole = write_video(tmp_path / "v.mp4", grey_ramp(8)).read_bytes()
    contents = {
        "empty.mp4": b"",
        "noise.avi": np.random.default_rng(0).bytes(5000),
        "head.mp4": whole[: len(whole) // 2],
        "page.mp4": b"<html>404 not found</html>" * 50,
        "text.ans": b"just text\n" * 500,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert reason_of(tmp_path / name)
    assert "missing" in reason_of(tmp_path / "gone.mp4")
    (tmp_path / "none").mkdir()
    assert "no images" in reason_of(tmp_path / "none")


def test_sound_alone_is_skipped(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "no video stream" in reason_of(tmp_path / "a.mkv")


def test_damage_in_the_middle_keeps_the_rest(tmp_path: Path) -> None:
    """A cut-off AVI still has most of its frames."""
    path = write_video(tmp_path / "v.avi", grey_ramp(40))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    outcome = read_video(path, Sampling(4, 32))
    assert isinstance(outcome, DecodedVideo)
    assert 0 < outcome.length < 40


def test_playlists_reach_nowhere(tmp_path: Path) -> None:
    """A "video" that names an address must not make the tool connect to it."""
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    assert reason_of(tmp_path / "list.mp4")


def test_long_videos_give_the_same_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into memory is read twice, with the same result."""
    path = write_video(tmp_path / "v.mp4", grey_ramp(40))
    sampling = Sampling(4, 32, 3, 2)
    usual = clips_of(path, sampling)
    monkeypatch.setattr(decode, "KEEP_BYTES", 5 * 32 * 32 * 3)
    assert np.array_equal(usual, clips_of(path, sampling))
