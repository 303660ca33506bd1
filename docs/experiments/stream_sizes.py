"""Bytes per class and error of every way to store clips, on one real clip of each class of a clips file.

    python docs/experiments/stream_sizes.py CLIPS.h5 [--clip N] [--coding FORM]...

FORM is a coding with {} in the place of its quality, such as av1-{}@half; default all.

Prints four tables: sizes by coding and packing, bytes at equal error, time per clip, and one file piece by piece.
What came out is in streams.md.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import time
import zlib
from collections.abc import Callable
from fractions import Fraction

import av
import h5py
import numpy as np
import torch
from PIL import Image

from engine.data.spec import ClipSpec
from engine.synthetic import streams
from engine.synthetic.compressed import encode_set
from engine.synthetic.container import WORDS, pack
from engine.synthetic.labels import LabelCode
from engine.synthetic.pixels import Coreset
from engine.synthetic.streams import H264, Av1, Coding

QUALITIES = {"h264": (27, 31, 35, 39, 43, 47), "av1": (0, 4, 9, 16, 26), "avif": (0, 4, 9, 16, 26), "jpeg": (2, 5, 15)}
LEVELS = range(19, 31)
"""Decibels at which codings are compared."""


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--clip", type=int, default=3, help="which clip of each class")
    parser.add_argument("--coding", action="append", help="only these rows of the first table")
    asked = parser.parse_args()
    clips, spec = read(asked.data, asked.clip)
    say(f"{len(clips)} clips of {' x '.join(map(str, clips.shape[1:]))}; bytes per class at one clip per class")
    curves = sizes(clips, spec, asked.coding or codings(clips.shape[1]))
    equal_errors(curves)
    times(clips)
    pieces(clips, spec)


def say(*parts: object) -> None:
    """Print one line at once."""
    print(*parts, flush=True)  # noqa: T201


def read(path: str, place: int) -> tuple[np.ndarray, ClipSpec]:
    """The clip ``place`` of each class, uint8 (C, T, H, W, 3), and what the file says of them."""
    with h5py.File(path) as file:
        labels, names = file["train/labels"][:], tuple(json.loads(file.attrs["classes"]))
        rows = [np.flatnonzero(labels == label) for label in range(len(names))]
        clips = np.stack([file["train/clips"][own[place % len(own)]] for own in rows])
        mean, std = (tuple(float(value) for value in file.attrs[name]) for name in ("mean", "std"))
    return clips, ClipSpec(names, *clips.shape[1:4], mean, std)


def decibels(shown: np.ndarray, clips: np.ndarray) -> float:
    """Peak signal to noise ratio of the mean square error over all clips and colours."""
    error = np.mean((shown.astype(np.float64) - clips) ** 2)
    return 10 * math.log10(255**2 / error) if error else math.inf


# --- sizes -----------------------------------------------------------------------------------------------------------


def codings(frames: int) -> list[str]:
    """The grid: codecs at whole and half side, all frames, a quarter of them, and one."""
    times_ = ["", f":repeat{max(1, frames // 4)}", f":linear{max(1, frames // 4)}", ":repeat1"]
    grid = []
    for codec in ("h264", "av1", "avif", "jpeg"):
        for side in ("", "@half"):
            grid += [f"{codec}-{{}}{side}{how}" for how in (times_ if codec in ("h264", "av1") else times_[:1])]
        grid.append(f"{codec}-{{}}:444")
    return grid


def sizes(clips: np.ndarray, spec: ClipSpec, forms: list[str]) -> dict[str, list[tuple[float, float]]]:
    """Print bytes per class by packing; return (bytes per class in one stream of the set, decibels) by coding."""
    say("\ncoding                     dB   one stream   a stream   the set as one clip,   file of")
    say("                              for the set  per class  predicted throughout    the set")
    number = len(clips)
    curves: dict[str, list[tuple[float, float]]] = {}
    for form in forms:
        for quality in QUALITIES[form.partition("-")[0]]:
            coding = Coding.parse(form.format(quality))
            content = coding.encode(clips)
            error = decibels(coding.decode(content, clips.shape), clips)
            each = sum(len(coding.encode(clip[None])) for clip in clips) / number
            whole = len(pack(head(spec, str(coding)), {"pixels": content})) / number
            joined = predicted(coding, clips) if ":" not in form and form[0] in "ah" else "-"
            curves.setdefault(form, []).append((len(content) / number, error))
            say(f"{coding!s:22s} {error:6.2f} {len(content) / number:11.0f} {each:11.0f} {joined:>20s} {whole:10.0f}")
    for text in ("uint8", "uint8@half:repeat1"):
        content = Coding.parse(text).encode(clips)
        error = decibels(Coding.parse(text).decode(content, clips.shape), clips)
        say(f"{text:22s} {error:6.2f} {len(content) / number:11.0f}")
    say(f"lossless per class: PNG {lossless(clips, 'PNG'):.0f}, WebP {lossless(clips, 'WEBP'):.0f}")
    before(clips, spec, curves)
    return curves


def predicted(coding: Coding, clips: np.ndarray) -> str:
    """Bytes per class where the clips of the set are one long clip, which is predicted from its start."""
    long = clips.reshape(1, -1, *clips.shape[2:])
    content = coding.encode(long)
    return f"{len(content) / len(clips):.0f} ({decibels(coding.decode(content, long.shape), long):.2f} dB)"


def lossless(clips: np.ndarray, name: str) -> float:
    """Bytes per class as stills of a lossless format: the frames of a clip side by side."""
    total = 0
    for clip in clips:
        buffer = io.BytesIO()
        extra = {"lossless": True, "quality": 100, "method": 6} if name == "WEBP" else {"optimize": True}
        Image.fromarray(np.concatenate(list(clip), 1)).save(buffer, name, **extra)
        total += len(buffer.getvalue())
    return total / len(clips)


def before(clips: np.ndarray, spec: ClipSpec, curves: dict[str, list[tuple[float, float]]]) -> None:
    """Print the same of compressed sets (safetensors), and of a container for each clip."""
    say("\ncompressed set, and files for each clip     dB   bytes per class")
    real = Coreset(spec, spec.normalise(torch.from_numpy(clips)).movedim(1, 2).unsqueeze(1).contiguous())
    for codec, qualities in (("h264", (27, 31, 35, 39, 43)), ("jpeg", (15,)), ("avif", (4,))):
        for quality in qualities:
            stored = encode_set(real, f"{codec}-{quality}")
            shown = stored.decode().tensors()["pixels"][:, 0].movedim(1, 2)
            error = decibels(spec.to_pixels(shown).numpy(), clips)
            bytes_ = stored.nbytes / len(clips)
            say(f"compressed set, {codec}-{quality:2d} {error:24.2f} {bytes_:11.0f}")
            if codec == "h264":
                curves.setdefault("compressed set, h264", []).append((bytes_, error))
    for quality in (27, 35, 43):
        each = np.mean([len(mp4(clip, quality)) for clip in clips])
        say(f"an MP4 for each clip, h264-{quality}, as x264 is by default {each:16.0f}")
    for quality in (0, 9):
        say(f"an AVIF for each clip, av1-{quality} {np.mean([len(avif(clip, quality)) for clip in clips]):38.0f}")
    for quality in (0, 9):
        say(f"an AVIF for each first frame, av1-{quality} {np.mean([len(avif(c[:1], quality)) for c in clips]):31.0f}")


def mp4(clip: np.ndarray, quality: int) -> bytes:
    """An MP4 as a library makes it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": str(quality), "preset": "veryslow"})
        stream.height, stream.width, stream.pix_fmt = clip.shape[1], clip.shape[2], "yuv420p"
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def avif(clip: np.ndarray, quality: int) -> bytes:
    """An AVIF as Pillow makes it."""
    buffer = io.BytesIO()
    first, *others = (Image.fromarray(frame) for frame in clip)
    first.save(buffer, "AVIF", save_all=bool(others), append_images=others, quality=quality, speed=3, max_threads=1)
    return buffer.getvalue()


# --- equal errors ----------------------------------------------------------------------------------------------------


def equal_errors(curves: dict[str, list[tuple[float, float]]]) -> None:
    """Print bytes per class of each curve at the same errors, straight in log bytes between what was measured."""
    say("\nbytes per class (one stream for the set) at dB" + "".join(f"{level:6d}" for level in LEVELS))
    for form, points in curves.items():
        size, error = np.array(sorted(points, key=lambda point: point[1])).T
        at = np.exp(np.interp(LEVELS, error, np.log(size), left=np.nan, right=np.nan))
        cells = "".join("     -" if math.isnan(value) else f"{value:6.0f}" for value in at)
        say(f"{form.replace('-{}', ''):46s}{cells}")


# --- times -----------------------------------------------------------------------------------------------------------


class _Preset(H264):
    def __init__(self, preset: str) -> None:
        self.preset = preset


class _Speed(Av1):
    def __init__(self, speed: int) -> None:
        super().__init__("av1", stills=False)
        self.speed = speed


def times(clips: np.ndarray) -> None:
    """Print processor time per clip, and how near the pictures of fast settings are to those of the slow ones.

    The last column is what a step of learning cares for: the error between what the fast setting shows and what the
    file will show, beside the error of either against the clip.
    """
    say("\ncoding, setting           encode ms  decode ms  bytes per class  dB to the clip  dB to what the file shows")
    presets = ("veryslow", "medium", "veryfast", "superfast", "ultrafast")
    rows: list[tuple[str, str, streams.Coder]] = [("h264-35", name, _Preset(name)) for name in presets]
    rows += [("h264-40@half", name, _Preset(name)) for name in presets[:3]]
    rows += [("av1-5", f"speed {speed}", _Speed(speed)) for speed in (3, 2, 4, 6, 8, 9)]
    rows += [(text, "", streams.CODERS[text.partition("-")[0]]) for text in ("avif-5", "jpeg-10")]
    slow: dict[str, np.ndarray] = {}
    for text, setting, coder in rows:
        usual = streams.CODERS[coder.name]
        streams.CODERS[coder.name] = coder
        coding = Coding.parse(text)
        took, content = timed(lambda coding=coding: coding.encode(clips))
        back, shown = timed(lambda coding=coding, content=content: coding.decode(content, clips.shape))
        streams.CODERS[coder.name] = usual
        first = slow.setdefault(text, shown)
        cells = f"{took / len(clips):9.1f} {back / len(clips):10.1f} {len(content) / len(clips):14.0f}"
        say(f"{text + ' ' + setting:25s} {cells} {decibels(shown, clips):15.2f} {decibels(shown, first):20.2f}")


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Milliseconds of processor time of ``work``, the least of three, and what it gave."""
    found, least = None, math.inf
    for _ in range(3):
        begin = time.process_time()
        found = work()
        least = min(least, 1000 * (time.process_time() - begin))
    return least, found


# --- one file --------------------------------------------------------------------------------------------------------


def head(spec: ClipSpec, coding: str) -> dict[str, object]:
    """What a set's file says beside its streams."""
    return {
        "kind": "pixels",
        "classes": list(spec.classes),
        "ipc": 1,
        "frames": spec.frames,
        "size": [spec.height, spec.width],
        "mean": [round(value, 3) for value in spec.mean],
        "std": [round(value, 3) for value in spec.std],
        "pixels": coding,
    }


PROVENANCE = {"preset": "miniucf101-ipc1-dm", "seed": 0, "step": 5000, "selected_on": "val", "accuracy": 0.298}


def pieces(clips: np.ndarray, spec: ClipSpec) -> None:
    """Print where the bytes of one file go."""
    coding = Coding.parse("h264-35")
    content = coding.encode(clips)
    said = head(spec, "h264-35")
    labels = LabelCode(len(clips)).encode(np.full((len(clips), len(clips)), 1 / len(clips)))
    parts = {"pixels": content, "labels": labels}
    file = pack(said | PROVENANCE, parts)
    say(f"\none file of {len(file)} bytes: h264-35, {len(clips)} clips, soft labels (top 3, 4 bits), provenance")
    coded = [coding.encode_clip(clip) for clip in clips]
    units = [*coded[0].head, *(unit for clip in coded for unit in clip.body)]
    keys = [key for clip in coded for key in clip.body[:1]]
    rest = [unit for clip in coded for unit in clip.body[1:]]
    say(f"  magic and version 4, checksum 4, head {len(file) - 8 - len(content) - len(labels)}, labels {len(labels)}")
    say(f"  SPS {len(units[0])}, PPS {len(units[1])}, lengths {lengths(coding, clips)} of {len(units)} units")
    say(f"  key frames {sum(map(len, keys))}, other frames {sum(map(len, rest))} ({len(rest)} of them)")
    for name in [*said, *PROVENANCE]:
        without = {key: value for key, value in (said | PROVENANCE).items() if key != name}
        say(f"    {name:12s} {len(file) - len(pack(without, parts)):4d}")
    av1 = Coding.parse("av1-9")
    units = [*av1.encode_clip(clips[0]).head]
    say(f"  of av1-9: sequence header {len(units[0])}, lengths {lengths(av1, clips)} of {len(av1.encode(clips))}")
    heads(said, parts)


def lengths(coding: Coding, clips: np.ndarray) -> int:
    """Bytes that say how long each unit of a group is."""
    coded = [coding.encode_clip(clip) for clip in clips]
    units = [*coded[0].head, *(unit for clip in coded for unit in clip.body)]
    return len(coding.join(coded)) - sum(map(len, units))


def heads(said: dict[str, object], parts: dict[str, bytes]) -> None:
    """Print how many bytes a file of these parts has beside them, by container."""
    say("\nbytes beside the parts      without provenance    with it")
    ways: dict[str, Callable[[dict[str, object]], int]] = {
        "safetensors": lambda told: len(safetensors(told, parts)),
        "JSON": lambda told: len(plain(told, parts)) + 12,
        "JSON, zlib": lambda told: len(zlib.compress(plain(told, parts), 9)) + 12,
        "JSON, raw deflate": lambda told: len(deflated(plain(told, parts))) + 8,
        f"the same, {len(WORDS)} words": lambda told: len(pack(told, parts)) - sum(map(len, parts.values())),
    }
    for name, measure in ways.items():
        say(f"{name:28s} {measure(said):10d} {measure(said | PROVENANCE):15d}")


def plain(told: dict[str, object], parts: dict[str, bytes]) -> bytes:
    """A head as compact JSON."""
    listed = [[name, len(part)] for name, part in parts.items()]
    return json.dumps(told | {"parts": listed}, ensure_ascii=False, separators=(",", ":")).encode()


def deflated(text: bytes) -> bytes:
    """Raw deflate without a dictionary."""
    coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    return coder.compress(text) + coder.flush()


def safetensors(told: dict[str, object], parts: dict[str, bytes]) -> bytes:
    """The header of a safetensors file that says the same, all metadata as text, with a checksum in it."""
    metadata = {name: value if isinstance(value, str) else json.dumps(value) for name, value in told.items()}
    metadata |= {"format": "vdtui.compressed", "version": "1", "check": "01234567"}
    at, entries = 0, {}
    for name, part in parts.items():
        entries[name] = {"dtype": "U8", "shape": [len(part)], "data_offsets": [at, at + len(part)]}
        at += len(part)
    text = json.dumps({"__metadata__": metadata, **entries}, ensure_ascii=False, separators=(",", ":")).encode()
    return (len(text) + -len(text) % 8).to_bytes(8, "little") + text.ljust(len(text) + -len(text) % 8)


if __name__ == "__main__":
    main()
