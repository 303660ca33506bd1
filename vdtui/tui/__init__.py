"""The dashboard. It knows a run only through its run directory, so live view, attach and replay are one thing."""
