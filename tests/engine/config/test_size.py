"""What a preset will store is told before it runs, and must be what the file then holds."""

from __future__ import annotations

import pytest

from engine.config.schema import SyntheticSection
from engine.config.size import stored_values


@pytest.mark.parametrize(
    ("table", "mib"),
    [
        (SyntheticSection(kind="pixels", ipc=1), 114.8),
        (SyntheticSection(kind="pixels", ipc=5), 574.2),
        (SyntheticSection(ipc=1), 90.9),
        (SyntheticSection(ipc=5), 454.6),
        (SyntheticSection(ipc=1, statics_per_instance=1, dynamics_per_instance=1), 45.5),
        (SyntheticSection(ipc=5, statics_per_instance=1, dynamics_per_instance=1), 227.3),
    ],
)
def test_the_published_sizes(table: SyntheticSection, mib: float) -> None:
    """method.md's sizes for MiniUCF: 50 classes, 16 x 112 x 112, float32."""
    assert 4 * stored_values(table, 50, 16, 112) / 2**20 == pytest.approx(mib, abs=0.06)


IMAGE, FRAME = 3 * 112 * 112, 112 * 112


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (SyntheticSection(kind="static-only", ipc=3), 50 * 6 * IMAGE),
        (SyntheticSection(statics_per_instance=0, ipc=3), 50 * 6 * 16 * FRAME + 327),
        (SyntheticSection(hallucinator="per-class"), 50 * (2 * IMAGE + 2 * 16 * FRAME + 327)),
        (SyntheticSection(hallucinators=4), 50 * (2 * IMAGE + 2 * 16 * FRAME) + 4 * 327),
    ],
)
def test_the_sizes_of_ablations(table: SyntheticSection, values: int) -> None:
    """Counted by hand: an ablation that seems smaller than it is has won for nothing."""
    assert stored_values(table, 50, 16, 112) == values
