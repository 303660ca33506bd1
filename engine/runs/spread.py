"""Standard deviations as they are read: a single network has none.

Versions before this one wrote 0.0 for it, which in a table looks like networks that agree. Event logs and result files
of theirs are read as if they had written null, here, so that no reader has to remember it. Nothing here needs torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

MEASURE = re.compile(r"top\d{1,4}")
"""Keys of a result that hold accuracies: ``top1``, ``top5``."""


def spread(std: Any, values: Sequence[Any]) -> float | None:
    """``std`` as a number, or None where it is null or ``values`` is a single one.

    Raises TypeError or ValueError if it is something else.
    """
    return None if std is None or len(values) == 1 else float(std)


def with_spreads(result: dict[str, Any]) -> dict[str, Any]:
    """``result`` with ``"std": null`` in each of its measures that has a single value; all else as it is."""
    single = {key: {**table, "std": None} for key, table in result.items() if MEASURE.fullmatch(key) and _single(table)}
    return {**result, **single}


def _single(table: Any) -> bool:
    values = table.get("values") if isinstance(table, dict) else None
    return isinstance(values, list) and len(values) == 1
