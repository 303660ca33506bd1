"""`python -m tests.campaigns --minutes 60 [--only kills]`: campaigns in turn, and what was tried and failed of each.

A failure is printed with its seed; `--only NAME --seed SEED --count 1` tries that one again. Kills at a time, and not
at a change of the file system, fall elsewhere each time.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: processes are forked


def _kills() -> Any:
    from tests.campaigns.kills import Kills

    return Kills()


def _inputs() -> Any:
    from tests.campaigns.inputs import Inputs

    return Inputs()


def _events() -> Any:
    from tests.campaigns.events import Events

    return Events()


CAMPAIGNS: dict[str, Callable[[], Any]] = {"kills": _kills, "inputs": _inputs, "events": _events}


def main() -> int:
    """Run campaigns as the command line says; return 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="for all campaigns together (default: 1)")
    parser.add_argument("--only", nargs="+", choices=[*CAMPAIGNS], default=[*CAMPAIGNS], help="these campaigns alone")
    parser.add_argument("--seed", type=int, default=None, help="of the first attempt; the next ones follow")
    parser.add_argument("--count", type=int, default=None, help="attempts of each, in place of --minutes")
    options = parser.parse_args()
    first = options.seed if options.seed is not None else int(time.time())
    print(f"python -m tests.campaigns --only {' '.join(options.only)} --seed {first}", flush=True)  # noqa: T201
    failed = 0
    for name in options.only:
        failed += _run(name, first, 60 * options.minutes / len(options.only), options.count)
    return 1 if failed else 0


def _run(name: str, first: int, seconds: float, count: int | None) -> int:
    campaign = CAMPAIGNS[name]()
    began, seed, tried, failed = time.monotonic(), first, 0, 0
    told = began
    try:
        while seed - first < count if count is not None else time.monotonic() - began < seconds:
            try:
                tried += campaign.attempt(seed)
            except Exception:
                failed += 1
                print(f"FAILED: --only {name} --seed {seed} --count 1\n{traceback.format_exc()}", flush=True)  # noqa: T201
            seed += 1
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(f"{name}: {tried:,} tried, {failed} failed so far", flush=True)  # noqa: T201
    finally:
        campaign.close()
    took = time.monotonic() - began
    print(f"{name}: {tried:,} tried in {seed - first:,} attempts, {failed} failed, {took:.0f} s", flush=True)  # noqa: T201
    return failed


if __name__ == "__main__":
    sys.exit(main())
