"""The preset: one frozen, strict schema for everything that can be set.

Validation sits with the type; a key that is not here is an error, and a key that is here is read by something.
Units: steps are optimiser steps, sizes pixels, learning rates per optimiser step on normalised pixels.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DatasetTable(_Table):
    """Where the clips come from. A clips file given with ``--data`` must fit what is said here."""

    layout: str | None = Field(None, description="layout of the source; `demo` is made by the run itself")
    path: str | None = Field(None, description="clips file (.h5), as --data")
    frames: Count | None = Field(None, description="frames per clip that the data must have; unset: any")
    size: Count | None = Field(None, description="height and width in pixels that the data must have; unset: any")
    interval: Count | None = Field(None, description="every n-th frame; unset: any")
    val_fraction: Fraction = Field(
        0.2, description="part of the training videos held out to choose the iteration, unless the data has its own"
    )


class SyntheticTable(_Table):
    """What is learned, and so what is stored."""

    kind: Literal["static-dynamic", "pixels"] = Field("static-dynamic", description="parameterisation of the clips")
    ipc: Count = Field(1, description="instances per class")
    statics_per_instance: Count = Field(2, description="still images that an instance owns (static-dynamic)")
    dynamics_per_instance: Count = Field(2, description="one-channel videos that an instance owns (static-dynamic)")


class StaticTable(_Table):
    """Stage 1: still images as static memory."""

    objective: Literal["dc"] = Field("dc", description="dc: gradient matching (Zhao et al. 2021)")
    init: Literal["noise", "frame", "median"] = Field(
        "noise", description="start: noise, a frame of a real clip, or the median over time of a real clip"
    )
    steps: Steps = Field(1000, description="optimiser steps on the images")
    lr: Rate = Field(0.1, description="learning rate of the images")
    momentum: Fraction = Field(0.5, description="momentum of the images' SGD")
    batch_real: Count = Field(256, description="real frames per class and step")
    outer_loops: Count = Field(1, description="steps with one network before a new one is drawn")
    inner_loops: Steps = Field(1, description="steps of that network's training between two steps of the images")
    lr_network: Rate = Field(0.01, description="learning rate of that network")
    checkpoint_every: Count = Field(50, description="steps between two checkpoints")


class DynamicTable(_Table):
    """Stage 2: dynamic memory and hallucinator (or the pixels of whole clips)."""

    objective: Literal["dm"] = Field("dm", description="dm: distribution matching (Zhao and Bilen 2023)")
    init: Literal["noise", "residual"] = Field(
        "noise",
        description="start: noise, or real clips (their luminance less the static memory's, identity hallucinator)",
    )
    steps: Steps = Field(5000, description="optimiser steps")
    lr_dynamic: Rate = Field(1e-4, description="learning rate of the dynamic memory, or of the pixels")
    lr_hallucinator: Rate = Field(1e-5, description="learning rate of the hallucinator")
    momentum: Fraction = Field(0.95, description="momentum of SGD")
    batch_real: Count = Field(64, description="real clips per class and step")
    eval_every: Count = Field(400, description="steps between two evaluations on the validation split; 0 is one too")
    checkpoint_every: Count = Field(50, description="steps between two checkpoints")


class EvaluationTable(_Table):
    """How a synthetic set is judged: networks trained on it from scratch."""

    protocol: Literal["strict"] = Field("strict", description="strict: chosen on validation, tested once, seeded")
    models: Annotated[tuple[Literal["convnet3d"], ...], Field(min_length=1, max_length=1, strict=False)] = Field(
        ("convnet3d",), description="networks to train"
    )
    epochs: Count = Field(500, description="passes over the synthetic set")
    lr: Rate = Field(0.01, description="learning rate, divided by 10 half way")
    momentum: Fraction = Field(0.9, description="momentum of SGD")
    weight_decay: Rate = Field(5e-4, description="weight decay")
    batch: Count = Field(256, description="clips per training step")
    repeats: Annotated[int, Field(ge=1)] = Field(3, description="network seeds of every row of the final table")
    selection_repeats: Count = Field(3, description="network seeds of every evaluation during the run")


class RunTable(_Table):
    """Where and with which seed it runs."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="the one seed that every random draw comes from")
    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = Field(
        "auto", description="auto, cpu, cuda, cuda:1, mps"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of network passes; auto: bfloat16 where the device is fast at it"
    )


class Preset(_Table):
    """A whole preset, resolved. ``published`` is the paper's number, if there is one, unchecked."""

    title: str = ""
    description: str = ""
    published: str | None = None
    dataset: DatasetTable = DatasetTable()
    synthetic: SyntheticTable = SyntheticTable()
    static: StaticTable = StaticTable()
    dynamic: DynamicTable = DynamicTable()
    evaluation: EvaluationTable = EvaluationTable()
    run: RunTable = RunTable()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.dynamic.lr_dynamic == 0 and self.dynamic.lr_hallucinator == 0 and self.dynamic.steps > 0:
            raise ValueError("dynamic.steps is above 0 but both learning rates are 0, so nothing would be learned")
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that this preset runs, in order."""
        statics = ("static",) if self.synthetic.kind == "static-dynamic" else ()
        return ("prepare", *statics, "dynamic", "evaluate")

    def tables(self) -> dict[str, Any]:
        """All values as plain tables, without those that are unset."""
        return self.model_dump(exclude_none=True)
