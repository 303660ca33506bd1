"""The final table of a run in words, for the end of `distill` and for `show`."""

from __future__ import annotations

from typing import Any

from vdtui.cli.options import human_bytes, human_time, print_table

COLUMNS = ["trained on", "top-1 on test", "per network", "stored values", "bytes", "chosen on", "time"]


def print_results(results: list[dict[str, Any]]) -> None:
    """Print ``results`` (objects as in `show --json`) as one table; does nothing without any."""
    if not results:
        return
    first = results[0]
    protocol = f"protocol {first['protocol']} {first['protocol_version']}, {first['model']}, mean +- sample std"
    print_table(COLUMNS, [_row(result) for result in results], protocol, right=(1, 3, 4, 6))


def _row(result: dict[str, Any]) -> list[str]:
    top1 = result["top1"]
    step = f" (step {result['step']})" if result.get("step") is not None else ""
    return [
        result["what"] + step,
        f"{100 * top1['mean']:.1f} +- {100 * top1['std']:.1f} %",
        " ".join(f"{100 * value:.1f}" for value in top1["values"]),
        f"{result['stored_values']:,}",
        f"{human_bytes(result['bytes'])} {result['precision']}",
        result["selected_on"],
        human_time(result["seconds"]),
    ]
