"""A few attempts of each campaign: a campaign that nobody runs would not run when somebody wants it."""

from __future__ import annotations

import subprocess
import sys

from tests.tiny import ROOT

NAMES = ("kills", "inputs", "events")
ATTEMPTS = 3


def test_campaigns_find_nothing() -> None:
    """Other attempts each time: what one of them finds can be repeated by its seed, and by hand for an hour."""
    command = [sys.executable, "-m", "tests.campaigns", "--count", str(ATTEMPTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=230)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"\n{name}: " in done.stdout for name in NAMES), done.stdout
