"""Runs are made here for other things than the plots in their reports, which take a quarter of them; see export/."""

from tests.tiny_run import no_plots

__all__ = ["no_plots"]
