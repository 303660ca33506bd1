"""A few attempts of each campaign: a campaign that nobody runs would not run when somebody wants it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.tiny import ROOT

ATTEMPTS = {"kills": 4, "inputs": 5, "events": 5}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_campaign_finds_nothing(name: str) -> None:
    """Other attempts each time: what one of them finds can be repeated by its seed, and by hand for an hour."""
    command = [sys.executable, "-m", "tests.campaigns", "--only", name, "--count", str(ATTEMPTS[name])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=230)
    assert done.returncode == 0 and f"{name}: " in done.stdout, done.stdout + done.stderr
