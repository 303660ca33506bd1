"""Trackers: other people's tools that draw the curves of runs, fed from the events of a run.

The event log stays what tells of a run; a tracker is a copy of its numbers. Each has a thread and a queue of its own,
so a tracker that is slow, fails or hangs costs the run nothing but one warning. No tracker is imported before its run
asks for it by ``run.trackers``.
"""

from engine.trackers.tracking import Tracking

__all__ = ["Tracking"]
