"""Pictures of high dynamic range as others show them.

A phone's HDR video (PQ, or HLG) says how bright a point is in nits, up to thousands; read as if it were ordinary, it is
pale and dim. What is as bright as ordinary white (203 nits, ITU-R BT.2408) or darker is shown as it is, in the colours
of ordinary screens (BT.709 primaries, the curve of sRGB); what is brighter is as bright as white, in its own hue.
"""

from __future__ import annotations

from functools import cache

import numpy as np

PQ, HLG = 16, 18
"""Transfer characteristics by ITU-T H.273: SMPTE ST 2084, and ARIB STD-B67."""

WHITE = 203.0
"""Nits of ordinary white; in HLG, 75 % of the signal on a display of 1000 nits."""

LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
"""Shares of red, green and blue of BT.2020 in the luminance."""

TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]], np.float32
)
"""From linear light in the primaries of BT.2020 (ITU-R BT.2087)."""


def to_sdr(pixels: np.ndarray, transfer: int) -> np.ndarray:
    """Convert uint16 (H, W, 3) of BT.2020 in ``transfer`` (:data:`PQ`, :data:`HLG`) to uint8 (H, W, 3) of sRGB."""
    linear = _light(transfer)[pixels]
    if transfer == HLG:  # the system gamma of a display of 1000 nits, which acts on the luminance (ITU-R BT.2100)
        linear = linear * ((linear @ LUMINANCE)[..., None] ** np.float32(0.2)) * np.float32(1000 / WHITE)
    linear = np.maximum(linear @ TO_BT709.T, 0)
    linear /= np.maximum(linear.max(axis=-1, keepdims=True), 1)
    return _srgb()[np.rint(linear * 65535).astype(np.uint16)]


@cache
def _light(transfer: int) -> np.ndarray:
    """The meaning of each 16-bit value, float32: for PQ light over that of white, for HLG scene light in [0, 1]."""
    signal = np.arange(65536) / 65535
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = signal ** (1 / m2)
        light = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) / WHITE
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return light.astype(np.float32)


@cache
def _srgb() -> np.ndarray:
    """The uint8 value of each 16-bit amount of linear light."""
    light = np.arange(65536) / 65535
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * curve).astype(np.uint8)
