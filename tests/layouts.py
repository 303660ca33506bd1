"""Small trees of every layout, as people have them on their disks.

Without ``write`` the videos are files of one byte: listing opens none. Give :func:`real_video` to decode them too, or
:func:`frame_folder` for folders of frames.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.videos import grey_ramp, write_image, write_video

Write = Callable[[Path], object]

UCF_CLASSES = ("ApplyEyeMakeup", "Archery", "Biking")
"""Two of them are of MiniUCF."""

SSV2_TEMPLATES = ("Pushing [something] left", "Dropping [something] into [something]")


def empty(path: Path) -> Path:
    """A file that is no video, but is called like one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def touch(folder: Path, *names: str) -> Path:
    """``folder`` with files of these names in it."""
    for name in names:
        empty(folder / name)
    return folder


def real_video(path: Path) -> Path:
    """A video of 12 grey frames; how dark it begins depends on its name."""
    title = f"{path.parent.name} {path.name}"  # no two are copies
    return write_video(path, grey_ramp(12, start=10 + sum(path.name.encode()) % 80), metadata={"title": title})


def frame_folder(path: Path) -> Path:
    """Three real frames in a folder of the video's name."""
    for number, frame in enumerate(grey_ramp(3), 1):
        write_image(path.with_suffix("") / f"frame{number:06d}.jpg", frame)
    return path.with_suffix("")


def write_lines(path: Path, lines: Iterable[str], end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def make_hmdb51(
    folder: Path,
    write: Write = empty,
    classes: Iterable[str] = ("brush_hair", "wave"),
    videos: str = "hmdb51_org",
    lists: str = "testTrainMulti_7030_splits",
) -> Path:
    """Six videos per class; in split K the K-th and the fourth are for testing, the fifth for neither."""
    for name in classes:
        files = [f"A_#1&[x] take {number}_{name}_f_cm_{number}.avi" for number in range(6)]
        for file in files:
            write(folder / videos / name / file)
        for split in (1, 2, 3):
            sides = {split - 1: 2, 3: 2, 4: 0}
            lines = (f"{file} {sides.get(number, 1)} " for number, file in enumerate(files))
            write_lines(folder / lists / f"{name}_test_split{split}.txt", lines)
    return folder


def make_ucf101(
    folder: Path,
    write: Write = empty,
    classes: Iterable[str] = UCF_CLASSES,
    videos: str = "UCF-101/{label}",
    lists: str = "ucfTrainTestlist",
) -> Path:
    """Four videos per class; in split K that of group K is for testing."""
    names = sorted(classes)
    paths = [(name, f"v_{name}_g{group:02d}_c01.avi", group) for name in names for group in (1, 2, 3, 4)]
    for name, file, _ in paths:
        write(folder / videos.format(label=name) / file)
    for split in (1, 2, 3):
        train = (f"{name}/{file} {names.index(name) + 1}" for name, file, group in paths if group != split)
        test = (f"{name}/{file}" for name, file, group in paths if group == split)
        write_lines(folder / lists / f"trainlist{split:02d}.txt", train, "\r\n")
        write_lines(folder / lists / f"testlist{split:02d}.txt", test, "\r\n")
    write_lines(folder / lists / "classInd.txt", (f"{number} {name}" for number, name in enumerate(names, 1)))
    return folder


def kinetics_row(label: str, video: str, split: str, start: int = 5) -> str:
    return f"{label},{video},{start},{start + 10},{split}"


def make_kinetics400(folder: Path, write: Write = empty, videos: str = "{split}/{label}") -> Path:
    """Two classes with two training and one validation video here each, and one of each missing; a test list."""
    rows: dict[str, list[str]] = {"train": [], "validate": [], "test": []}
    for label in ("air drumming", "zumba"):
        for split, number in (("train", 0), ("train", 1), ("train", 2), ("validate", 3), ("validate", 4), ("test", 5)):
            video = f"-{label[:3].strip()}_{number:07d}"
            rows[split].append(kinetics_row(label if split != "test" else "", video, split))
            if number in (0, 1, 3):
                place = folder / videos.format(split=split, label=label.replace(" ", "_"))
                write(place / f"{video}_000005_000015.mp4")
    for split, lines in rows.items():
        write_lines(folder / f"{split}.csv", ["label,youtube_id,time_start,time_end,split", *lines])
    return folder


def ssv2_entry(video: int, template: str) -> dict[str, object]:
    return {"id": str(video), "label": "pushing a cup", "template": template, "placeholders": ["a cup"]}


def make_ssv2(folder: Path, write: Write = empty, videos: str = "20bn-something-something-v2") -> Path:
    """Two classes with two training and one validation video each; two test videos without labels."""
    first, second = SSV2_TEMPLATES
    lists = {
        "train": [ssv2_entry(1, first), ssv2_entry(2, second), ssv2_entry(3, first), ssv2_entry(4, second)],
        "validation": [ssv2_entry(5, first), ssv2_entry(6, second)],
        "test": [{"id": "7"}, {"id": "8"}],
        "labels": {_bare(second): "1", _bare(first): "0"},
    }
    for number in range(1, 9):
        write(folder / videos / f"{number}.webm")
    for name, document in lists.items():
        path = folder / "labels" / f"something-something-v2-{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    return folder


def _bare(template: str) -> str:
    return template.replace("[", "").replace("]", "")


def make_folders(folder: Path, write: Write = empty) -> Path:
    """Two classes of four videos, without a split."""
    for name in ("run", "walk"):
        for number in range(4):
            write(folder / name / f"{number}.mp4")
    return folder


def make_table(folder: Path, write: Write = empty) -> Path:
    """Two classes of two training and one test video, in one folder; the table is clips.csv."""
    lines = ["path,label,split"]
    for label in ("run", "walk"):
        for number, split in enumerate(("train", "train", "test")):
            write(folder / "videos" / f"{label}{number}.mp4")
            lines.append(f"videos/{label}{number}.mp4,{label},{split}")
    write_lines(folder / "clips.csv", lines)
    return folder


MAKERS: dict[str, Callable[[Path, Write], Path]] = {
    "hmdb51": make_hmdb51,
    "ucf101": make_ucf101,
    "miniucf101": make_ucf101,
    "kinetics400": make_kinetics400,
    "ssv2": make_ssv2,
    "folders": make_folders,
    "table": make_table,
}
"""What makes a tree of each layout that is found on a disk."""
