"""Numbers to pictures: words, curves, pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from textual.geometry import Size

from vdtui.tui import words
from vdtui.tui.previews import (
    Panel,
    PreviewError,
    cells_of,
    fitted,
    load_preview,
    parts_of,
    resized,
    signed_colours,
    strips_of,
)
from vdtui.tui.watch import Loss
from vdtui.tui.widgets.curves import averaged, decimated, log_ticks, nice_ticks, plottable
from vdtui.tui.widgets.films import arranged


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("a\x1b[31mred\x1b[0m b", "ared b"),
        ("\x1b]0;title\x07x\x1b]8;;http://e\x1b\\y", "xy"),
        ("line\nfeed\ttab\r", "line feed tab"),
        ("\x9b31m\x85", "31m"),
        ("a\u202egnp.exe\u200b", "agnp.exe"),
        ("bad\udcff", "bad\N{REPLACEMENT CHARACTER}"),
        ("[red]kept[/red]", "[red]kept[/red]"),
    ],
)
def test_plain_text_has_no_power_over_the_terminal(given: str, shown: str) -> None:
    """A file name could clear the screen, hide its suffix, or crash the output with a half surrogate."""
    assert words.plain(given) == shown
    assert words.plain(given).encode("utf-8")


def test_numbers_are_said_in_units() -> None:
    """The user would have to count digits."""
    assert [words.duration(s) for s in (0, 59.4, 61, 3725, 90000)] == [
        "0 s",
        "59 s",
        "1 min 01 s",
        "1 h 02 min",
        "1 d 1 h",
    ]
    assert [words.size(b) for b in (12, 245760, 98e6, 1.5e12)] == ["12 B", "246 kB", "98.0 MB", "1500 GB"]
    assert words.plus_minus(0.5234, 0.012) == "52.3 ± 1.2 %"
    assert words.duration(float("inf")) == words.percent(None) == words.size(float("nan")) == "—"


def test_decimation_keeps_every_spike() -> None:
    """A single exploding step among a million would be invisible."""
    rng = np.random.default_rng(0)
    steps, values = np.arange(100_000.0), rng.random(100_000)
    values[77_777], values[33_333] = 50.0, -50.0
    x, y = decimated(steps, values, 200)
    assert len(x) <= 400 and np.all(np.diff(x) > 0)
    assert {77_777.0, 33_333.0} <= set(x) and y.max() == 50.0 and y.min() == -50.0
    mean_x, mean_y = averaged(steps, values, 10)
    expected = [sum(values[start : start + 10_000]) / 10_000 for start in range(0, 100_000, 10_000)]
    assert np.allclose(mean_y, expected, atol=1e-2) and len(mean_x) == 10


def test_what_a_logarithm_cannot_show_is_counted() -> None:
    """Zeros and NaN would silently leave the curve."""
    loss = Loss(np.arange(5.0), np.array([1.0, 0.0, -1.0, np.nan, 100.0]))
    steps, values, dropped = plottable(loss, logarithmic=True)
    assert steps.tolist() == [0.0, 4.0] and values.tolist() == [0.0, 2.0] and dropped == 3


@pytest.mark.parametrize("low", [-1e30, -5.0, 0.0, 1e-9, 3.0, 1e29])
@pytest.mark.parametrize("span", [1e-6, 0.3, 7.0, 1e12])
def test_ticks_lie_inside_and_are_few(low: float, span: float) -> None:
    """Labels would overlap or lie about the axis."""
    high = low + max(span, abs(low) * 1e-6)
    ticks, labels = nice_ticks(low, high, 5)
    assert len(ticks) == len(labels) <= 7
    assert all(low - 1e-6 * abs(low) <= tick <= high + 1e-6 * abs(high) for tick in ticks)


def test_log_ticks_say_the_value() -> None:
    """The user would read the logarithm for the loss."""
    assert log_ticks(-2.1, 1.1, 5) == ([-2.0, -1.0, 0.0, 1.0], ["0.01", "0.1", "1", "10"])
    _, labels = log_ticks(np.log10(0.9), np.log10(6.0), 5)
    assert labels == ["1", "2", "5"]
    _, labels = log_ticks(np.log10(0.31), np.log10(0.36), 3)
    assert labels and all(0.3 <= float(label) <= 0.37 for label in labels)


def test_pixels_become_half_blocks() -> None:
    """Pictures would stand on their head, or in wrong colours."""
    frame = np.zeros((4, 4, 3), np.uint8)
    frame[:2, :, 0], frame[2:, :, 2] = 248, 248
    rows = strips_of(cells_of(resized(frame, 2, 2)))
    (segment,) = rows[0]
    assert segment.text == "▀▀" and segment.style is not None
    assert segment.style.color is not None and segment.style.bgcolor is not None
    assert segment.style.color.triplet == (248, 0, 0) and segment.style.bgcolor.triplet == (0, 0, 248)


def test_scaling_keeps_means_and_pixels() -> None:
    """Reduced pictures would flicker with the pixels that happen to be hit; enlarged ones would blur."""
    frame = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    small = resized(frame, 2, 2)
    assert small[0, 0, 0] == (0 + 3 + 12 + 15) // 4
    large = resized(frame, 8, 8)
    assert np.array_equal(large[::2, ::2], frame) and np.array_equal(large[1::2, 1::2], frame)
    assert fitted(64, 64, 120, 16) == (32, 16) and fitted(16, 16, 40, 16) == (32, 16)


def test_signed_maps_are_dark_at_zero_and_differ_in_sign() -> None:
    """A dynamic memory would not tell brighter from darker."""
    zero, above, below = signed_colours(np.array([[[128, 255, 1]]], np.uint8))[0, 0]
    assert zero.max() < 40 and above[0] > above[2] and below[2] > below[0]


def test_all_films_fit_the_screen() -> None:
    """At 80 x 24 the clip itself would be cut off."""
    films = [Panel("static memory", np.zeros((1, 64, 64, 3))), Panel("dynamic memory", np.zeros((4, 64, 64, 3)))]
    films.append(Panel("clip", np.zeros((4, 64, 64, 3))))
    for size in (Size(78, 18), Size(118, 34), Size(240, 34), Size(20, 5)):
        columns = arranged(films, size)
        assert sorted(place.panel for column in columns for place in column) == [0, 1, 2]
        assert sum(max(place.columns for place in column) for column in columns) <= size.width
        assert all(sum(place.rows + 1 for place in column) <= size.height + 1 for column in columns)
    assert parts_of(5, 6, 2, 3) == (1, 2)


def test_a_preview_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file could fill the memory."""
    np.savez_compressed(tmp_path / "bomb.npz", classes=np.array(["a"]), clips=np.zeros((1, 1, 1, 64, 64, 3), np.uint8))
    assert load_preview(tmp_path, "bomb.npz").classes == ("a",)
    monkeypatch.setattr("vdtui.tui.previews.LARGEST_FILE", 1000)
    with pytest.raises(PreviewError, match="too large"):
        load_preview(tmp_path, "bomb.npz")
