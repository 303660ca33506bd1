"""Types of a preset's values, with their bounds, and the base class of its sections.

They lie below the schema, so that an objective can declare its keys beside its code; the schema is built from these.
Units: steps are optimiser steps, sizes pixels, learning rates per optimiser step on normalised pixels.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# A number beyond these bounds is a slip of the keyboard: no machine has the time, or the memory, for so much.
Count = Annotated[int, Field(ge=1, le=1_000_000)]
CountOrNone = Annotated[int, Field(ge=0, le=1_000_000)]
Steps = Annotated[int, Field(ge=0, le=10_000_000)]
Every = Annotated[int, Field(ge=1, le=10_000_000)]
"""Steps between two events."""
Networks = Annotated[int, Field(ge=1, le=100_000)]
Instances = Annotated[int, Field(ge=1, le=10_000_000)]
Few = Annotated[int, Field(ge=1, le=10_000)]
FewOrNone = Annotated[int, Field(ge=0, le=10_000)]
Frames = Annotated[int, Field(ge=1, le=65_536)]
Pixels = Annotated[int, Field(ge=1, le=8_192)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A fraction that may be 1."""


class Section(BaseModel):
    """A table of a preset: frozen, of exact types, without a key that it does not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
