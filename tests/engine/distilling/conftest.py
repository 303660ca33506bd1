"""Runs are made here for other things than the plots in their reports, which take a quarter of them; see export/."""

import pytest

from tests.tiny_run import no_plots

__all__ = ["no_plots"]


@pytest.fixture(autouse=True)
def started_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no plan start processes to see how long that takes, which test_plan.py tests by itself."""
    monkeypatch.setattr("engine.distilling.plan._start_seconds", lambda: 0.0)
