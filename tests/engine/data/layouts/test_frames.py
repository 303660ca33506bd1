"""Folders of images: which of them are the frames of a video, and which lie beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from engine.data.decode import DecodedVideo, SkippedVideo, read_video
from engine.data.layouts import VideoEntry, list_videos
from engine.data.layouts.frames import IMAGE_SUFFIXES, SeveralSeriesError, frame_files, frames_of
from engine.data.sampling import Sampling
from tests.layouts import touch
from tests.videos import grey_ramp, ramp_numbers, write_image, write_video


def read(folder: Path, frames: int = 4) -> DecodedVideo | SkippedVideo:
    return read_video(VideoEntry(folder, folder.name, 0, "train"), Sampling(frames, 32))


@pytest.mark.parametrize("suffix", ["tif", "tiff", "ppm", "gif", "jp2", "jfif", "jpe", "bmp", "webp", "jpeg", "TIF"])
def test_frames_in_any_format_are_one_video(tmp_path: Path, suffix: str) -> None:
    """Twelve frames were twelve videos of one frame, parted between training and testing."""
    (tmp_path / "a/clip").mkdir(parents=True)
    write_video(tmp_path / "a/v.mp4", grey_ramp(8))
    kind = {"jpe": "jpeg", "jfif": "jpeg", "jp2": "jpeg2000", "tif": "tiff", "TIF": "tiff"}.get(suffix, suffix)
    for number, frame in enumerate(grey_ramp(12)):
        Image.fromarray(frame).save(tmp_path / f"a/clip/{number}.{suffix}", kind)
    assert {video.name for video in list_videos("folders", tmp_path).videos} == {"a/clip", "a/v.mp4"}
    found = read(tmp_path / "a/clip")
    assert isinstance(found, DecodedVideo)
    assert found.length == 12
    assert ramp_numbers(found.clips[0]) == [4, 5, 6, 7]


def test_every_image_suffix_is_of_one_list(tmp_path: Path) -> None:
    """A suffix that only one of several lists has makes a folder of frames a folder of broken videos."""
    for suffix in IMAGE_SUFFIXES:
        touch(tmp_path, *(f"a/{suffix[1:]}/{number}{suffix}" for number in range(3)))
    assert len(list_videos("folders", tmp_path).videos) == len(IMAGE_SUFFIXES)
    for suffix in IMAGE_SUFFIXES:
        assert len(frame_files(tmp_path / "a" / suffix[1:])) == 3


def test_flow_beside_the_pictures_is_left_out(tmp_path: Path) -> None:
    """The layout that many use: every clip was optical flow, since f comes before i."""
    ramp = grey_ramp(10)
    for number in range(10):
        write_image(tmp_path / f"clip/img_{number:05d}.jpg", ramp[number])
        for axis in "xy":
            write_image(tmp_path / f"clip/flow_{axis}_{number:05d}.jpg", ramp[0] + 200)
    found = read(tmp_path / "clip")
    assert isinstance(found, DecodedVideo)
    assert (found.length, ramp_numbers(found.clips[0])) == (10, [3, 4, 5, 6])
    assert [remark.detail for remark in found.remarks] == ["flow_x_*.jpg, flow_y_*.jpg"]


def test_a_frame_in_two_formats_is_one_frame(tmp_path: Path) -> None:
    """Time went half as fast; and a PNG beside a JPEG is often its mask."""
    ramp = grey_ramp(10)
    for number in range(10):
        write_image(tmp_path / f"clip/{number}.jpg", ramp[number])
        write_image(tmp_path / f"clip/{number}.png", ramp[0] * 0)
    found = read(tmp_path / "clip")
    assert isinstance(found, DecodedVideo)
    assert (found.length, ramp_numbers(found.clips[0])) == (10, [3, 4, 5, 6])
    assert [remark.detail for remark in found.remarks] == ["the same as .png"]
    write_image(tmp_path / "clip/10.png", ramp[0])  # now there are more of them
    assert {path.suffix for path in frame_files(tmp_path / "clip")} == {".png"}


NAMES = {
    # what lies in the folder: what the video is, and the other series
    "a cover": (["1.jpg", "2.jpg", "cover.jpg"], ["1.jpg", "2.jpg"], ("cover.jpg",)),
    "depth": (["rgb_1.png", "rgb_2.png", "depth_1.png", "depth_2.png"], ["rgb_1.png", "rgb_2.png"], ("depth_*.png",)),
    "flow alone": (["flow_1.jpg", "flow_2.jpg"], ["flow_1.jpg", "flow_2.jpg"], ()),
    "times of day": (
        [f"IMG_20240101_12{minute:02d}{second:02d}.jpg" for minute in (0, 1) for second in (0, 30)],
        [f"IMG_20240101_12{minute:02d}{second:02d}.jpg" for minute in (0, 1) for second in (0, 30)],
        (),
    ),
    "upper and lower case": (
        ["Frame1.JPG", "frame2.jpg", "frame10.jpg"],
        ["Frame1.JPG", "frame2.jpg", "frame10.jpg"],
        (),
    ),
    "words": (["begin.jpg", "end.jpg"], ["begin.jpg", "end.jpg"], ()),
    "hashes": (
        [f"{number}_{chr(97 + number) * 3}.jpg" for number in range(12)],
        [f"{number}_{chr(97 + number) * 3}.jpg" for number in range(12)],
        (),
    ),
}


@pytest.mark.parametrize("case", NAMES)
def test_series(tmp_path: Path, case: str) -> None:
    names, expected, others = NAMES[case]
    touch(tmp_path, *reversed(names))
    found = frames_of(tmp_path)
    assert [path.name for path in found.files] == expected
    assert found.others == others


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([f"{side}_{n}.jpg" for side in ("left", "right") for n in range(3)], "left_*.jpg (3), right_*.jpg (3)"),
        ([f"cam{c}_{n}.jpg" for c in range(2) for n in range(3)], "cam0_*.jpg (3), cam1_*.jpg (3)"),
        (["flow_x_1.jpg", "flow_y_1.jpg"], "flow_x_*.jpg (1), flow_y_*.jpg (1)"),
    ],
)
def test_several_videos_in_one_folder_are_refused_and_named(tmp_path: Path, names: list[str], shown: str) -> None:
    """One after the other they would be a film that nobody has filmed."""
    touch(tmp_path, *names)
    with pytest.raises(SeveralSeriesError) as caught:
        frames_of(tmp_path)
    assert shown in str(caught.value)
    outcome = read(tmp_path)
    assert isinstance(outcome, SkippedVideo)
    assert shown in outcome.reason


@pytest.mark.parametrize("other", ["cloud.ply", "calib.cal", "LABELS"])
def test_an_unknown_file_beside_images(tmp_path: Path, other: str) -> None:
    """It was called damaged, and the frames were not looked at."""
    touch(
        tmp_path, *(f"a/clip/{number}.jpg" for number in range(3)), f"a/clip/{other}", "a/one/1.jpg", f"a/one/{other}"
    )
    write_video(tmp_path / "a/film.mp4", grey_ramp(3))
    (tmp_path / "a/covered").mkdir()
    (tmp_path / "a/film.mp4").rename(tmp_path / "a/covered/no suffix")
    touch(tmp_path, "a/covered/cover.jpg")
    names = {video.name for video in list_videos("folders", tmp_path).videos}
    assert names == {"a/clip", "a/one", "a/covered/no suffix"}


def test_moving_images_are_videos_wherever_they_lie(tmp_path: Path) -> None:
    """Data sets of GIFs have them in folders by person, which are no folders of frames."""
    for name in ("a/1.gif", "a/2.gif", "a/person/1.gif", "a/person/2.gif"):
        write_video(tmp_path / name, grey_ramp(4))
    assert {video.name for video in list_videos("folders", tmp_path).videos} == {
        "a/1.gif", "a/2.gif", "a/person/1.gif", "a/person/2.gif"
    }  # fmt: skip
