"""A second name of the package `engine`, for scripts that would get another module of that name.

    from vdtui.engine import load_synthetic

``vdtui.engine`` and ``engine`` are one module, as are ``vdtui.engine.runs`` and ``engine.runs``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import engine

if TYPE_CHECKING:
    from engine import *  # noqa: F403

sys.modules[__name__] = engine
