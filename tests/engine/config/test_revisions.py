"""Revisions of the method: without them, half a run by the old and half by the new passes for a run of either."""

from __future__ import annotations

import pytest

from engine.config import load_preset, outdated
from engine.config.revisions import revisions


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ([], ["embedding", "whitening"]),
        (["dynamic.optimiser=adam"], ["embedding", "whitening"]),
        (["dynamic.optimiser=adam", "static.optimiser=sgd"], ["embedding"]),
        (["dynamic.objective=frepo", "dynamic.optimiser=sgd", "static.steps=0"], ["embedding", "whitening"]),
        (["dynamic.objective=mtt"], ["whitening"]),
        (["dynamic.objective=mtt", "dynamic.optimiser=sgd", "static.optimiser=sgd"], []),
        (["synthetic.kind=static-only", "static.optimiser=sgd"], []),
        (["synthetic.kind=static-only"], ["whitening"]),
        (["synthetic.kind=full"], []),
    ],
)
def test_only_what_a_preset_uses_is_outdated(overrides: list[str], parts: list[str]) -> None:
    """A run of trajectory matching with SGD means what it meant; a user must not be made to start it anew."""
    preset = load_preset("default", overrides)
    assert list(revisions(preset)) == parts
    assert outdated(None, preset) == parts and outdated(revisions(preset), preset) == []


def test_another_revision_is_named() -> None:
    """And what is not a record of revisions counts as one from before there were any."""
    preset = load_preset("default")
    assert outdated(revisions(preset) | {"whitening": 1}, preset) == ["whitening"]
    assert outdated("x", preset) == ["embedding", "whitening"]
