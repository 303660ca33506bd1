"""HDR video: patches of known colours, encoded by the equations of the standards, must come out in those colours."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engine.data.decode import DecodedVideo, read_video
from engine.data.layouts import VideoEntry
from engine.data.sampling import Sampling
from engine.data.tones import HLG, PQ, to_sdr

PATCHES = [
    (220, 40, 40), (40, 200, 60), (40, 60, 220), (200, 200, 40), (180, 60, 200), (128, 128, 128), (250, 250, 250),
    (10, 10, 10), (0, 0, 0),
]  # fmt: skip

TO_BT2020 = ((0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956))
"""ITU-R BT.2087."""


def nits(patch: tuple[int, int, int]) -> list[float]:
    """Light of an sRGB colour in the primaries of BT.2020, with white at 203 nits."""
    linear = [v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in patch]
    return [203 * sum(a * b for a, b in zip(row, linear, strict=True)) for row in TO_BT2020]


def pq_signal(patch: tuple[int, int, int]) -> list[float]:
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    powers = [(value / 10_000) ** m1 for value in nits(patch)]
    return [((c1 + c2 * power) / (1 + c3 * power)) ** m2 for power in powers]


def hlg_signal(patch: tuple[int, int, int]) -> list[float]:
    display = [value / 1000 for value in nits(patch)]
    shown = 0.2627 * display[0] + 0.6780 * display[1] + 0.0593 * display[2]
    scene = [value * shown ** (1 / 1.2 - 1) if shown else 0.0 for value in display]
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return [math.sqrt(3 * value) if value <= 1 / 12 else a * math.log(12 * value - b) + c for value in scene]


@pytest.mark.parametrize(("transfer", "signal"), [(PQ, pq_signal), (HLG, hlg_signal)])
def test_colours_up_to_white_are_those_of_ordinary_video(transfer: int, signal: Any) -> None:
    pixels = np.array([[np.rint(65535 * np.array(signal(patch))) for patch in PATCHES]]).astype(np.uint16)
    assert np.abs(to_sdr(pixels, transfer)[0].astype(int) - PATCHES).max() <= 2


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_what_is_brighter_than_white_keeps_its_hue(transfer: int) -> None:
    """The sun is white, and a neon sign is not."""
    brightest = np.full((1, 1, 3), 65535, np.uint16)
    assert to_sdr(brightest, transfer).tolist() == [[[255, 255, 255]]]
    sign = to_sdr(np.array([[[60_000, 20_000, 20_000]]], np.uint16), transfer)[0, 0].tolist()
    assert sign[0] == 255 > 100 > max(sign[1:])


def write_hdr(path: Path, signal: Any, transfer: int) -> None:
    """Eight patches side by side as HEVC with 10 bits and the matrix of BT.2020."""
    rows = np.zeros((3, 64, 256), np.uint16)
    for number, patch in enumerate(PATCHES[:8]):
        red, green, blue = signal(patch)
        luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
        values = (64 + 876 * luma, 512 + 896 * (blue - luma) / 1.8814, 512 + 896 * (red - luma) / 1.4746)
        for plane, value in enumerate(values):
            rows[plane, :, 32 * number : 32 * number + 32] = round(value)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx265", rate=10, options={"x265-params": "log-level=none", "crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 256, 64, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = transfer, 9, 9, 1
        for _ in range(4):
            frame = av.VideoFrame(256, 64, "yuv420p10le")
            for plane, values in zip(frame.planes, (rows[0], rows[1, ::2, ::2], rows[2, ::2, ::2]), strict=True):
                line = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                line[:, : plane.width] = values
                plane.update(line.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(("transfer", "signal"), [(PQ, pq_signal), (HLG, hlg_signal)])
def test_a_video_of_a_phone(tmp_path: Path, transfer: int, signal: Any) -> None:
    """It came out pale and dim, and nothing said so."""
    write_hdr(tmp_path / "v.mp4", signal, transfer)
    found = read_video(VideoEntry(tmp_path / "v.mp4", "v", 0, "train"), Sampling(1, 256, resize="pad"))
    assert isinstance(found, DecodedVideo)
    middle = found.clips[0, 0, 128]
    for number, patch in enumerate(PATCHES[:8]):
        assert np.abs(middle[32 * number + 16].astype(int) - patch).max() <= 8, (patch, middle[32 * number + 16])
    assert [remark.kind for remark in found.remarks] == ["hdr"]
    assert found.rules == ("hdr",)
