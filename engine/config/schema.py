"""The preset: one frozen, strict schema for everything that can be set.

Validation sits with the type; a key that is not here is an error, and a key that is here is read by something. Names
and tables of objectives come from the objectives themselves (``engine.config.objectives``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar, cast

from pydantic import (
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from engine.config.budget import Size, for_a_budget, impossible_budget, impossible_rung
from engine.config.choosing import split_of_choice
from engine.config.fields import (
    Count,
    Every,
    Few,
    FewOrNone,
    Fraction,
    Frames,
    Instances,
    Networks,
    Pixels,
    Rate,
    Section,
    Steps,
)
from engine.config.kinds import KINDS, PRESET_KINDS, Kind, KindName
from engine.config.objectives import named, names_with, working_in
from engine.config.plugins import NETWORKS, is_address, load, offered
from engine.config.storage import has_losses, impossible
from engine.errors import UsageError

S = TypeVar("S", bound=Section)
T = TypeVar("T", bound="StageSection")

MOST_EVALUATIONS = 10_000
"""The most evaluations during stage 2, each of which trains networks."""
WITH_BUFFERS = ("r3d_18", "mc3_18", "r2plus1d_18", "swin3d_t")
"""Networks whose state is more than their weights, which trajectories cannot follow."""

COLLAPSIBLE = ("convnet3d", "convnet3d_small", "convnet3d_collapsed")
"""Networks that can be summed over time, so that they see still videos at the cost of images."""


class DatasetSection(Section):
    """The clips file, and properties that a run requires of it, also where ``--data`` names the file."""

    layout: str | None = Field(
        None, description="layout from which `vdtui prepare` makes the clips file; `demo` is made by the run itself"
    )
    path: str | None = Field(None, description="clips file (.h5), as --data")
    frames: Frames | None = Field(None, description="frames per clip that the data must have; unset: any")
    size: Pixels | None = Field(None, description="height and width in pixels that the data must have; unset: any")
    interval: Annotated[int, Field(ge=0, le=65_536)] | None = Field(
        None, description="every n-th frame that the data must have; 0: fps or uniform frames; unset: any"
    )
    split: Few | None = Field(None, description="which of the official splits the data must have; unset: any")
    val_fraction: Fraction = Field(
        0.2, description="part of the training videos held out to choose the iteration, unless the data has its own"
    )


class SyntheticSection(Section):
    """The set that is made: its kind, its size, and so the tensors that are stored."""

    kind: KindName = Field(
        "static-dynamic",
        description=f"what is learned: {'; '.join(f'{name}: {KINDS[name].label}' for name in PRESET_KINDS)}",
    )
    ipc: Instances = Field(1, description="instances per class")
    statics_per_instance: FewOrNone = Field(
        2, description="still images that an instance owns; 0: none, its clips are made of dynamic memory alone"
    )
    dynamics_per_instance: Few = Field(2, description="one-channel videos that an instance owns (static-dynamic)")
    hallucinators: Few = Field(1, description="hallucinators shared by all classes; each draw picks one of them")
    hallucinator: Literal["shared", "per-class"] = Field(
        "shared", description="shared: by all classes; per-class: each class has a hallucinator of its own"
    )
    labels: Literal["hard", "learned"] = Field("hard", description="hard: the class; learned: a value for every class")
    n_syn: Frames | None = Field(
        None, description="frames stored per segment, of dynamic memory or pixels; unset: all of them"
    )
    segments: Frames = Field(1, description="consecutive segments of a clip, each stored as n_syn frames")
    interpolation: Literal["duplicate", "linear"] = Field(
        "duplicate", description="how the n_syn stored frames of a segment become all of its frames"
    )
    formation: Annotated[int, Field(ge=2, le=8)] | None = Field(
        None,
        description="clips along each side of a stored picture, of which each is shown at full size (pixels); "
        "unset: each clip has pictures of its own",
    )
    dynamic_size: Pixels | None = Field(
        None, description="height and width of the stored dynamic memory in pixels; unset: those of the clips"
    )
    rank: Few | None = Field(
        None, description="maps of which each dynamic memory is a sum (low-rank); unset: one for four stored frames"
    )


class StageSection(Section):
    """The fields of both stages' sections: an objective, and its settings."""

    stage: ClassVar[str]
    objective: str
    options: dict[str, Any] | None = Field(None, description="keys of an objective that is given by its address")

    @model_validator(mode="after")
    def _own_options(self) -> Self:
        if not is_address(self.objective):
            if self.options is not None:
                raise ValueError("options are for what is named by its address, as module:Class")
            return self
        settings = named(self.objective).settings_in(self.stage)
        assert settings is not None
        try:
            settings.model_validate(self.options or {})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise ValueError(f"options.{key} of {self.objective}: {first['msg']}") from error
        return self

    def table(self, name: str, kind: type[S]) -> S:
        """Return the settings of the objective ``name`` in this stage, which are of the class ``kind``."""
        if is_address(self.objective) and named(self.objective).name == name:
            return kind.model_validate(self.options or {})
        settings = self if self._inline(name) else getattr(self, name, Section())
        assert isinstance(settings, kind), f"{name} has no {kind.__name__} in stage {self.stage}"
        return settings

    @property
    def settings(self) -> Section:
        """The settings of this section's objective; no keys where it has none."""
        if is_address(self.objective):
            chosen = named(self.objective)
            return self.table(chosen.name, chosen.settings_in(self.stage) or Section)
        return self.table(self.objective, Section)

    def with_settings(self, settings: Section) -> Self:
        """Return a copy with ``settings`` as those of its objective; they are of the class that they replace."""
        if is_address(self.objective):
            return self.model_copy(update={"options": settings.model_dump(exclude_none=True)})
        if self._inline(self.objective):
            return cast(Self, settings)
        return self.model_copy(update={self.objective: settings} if type(settings).model_fields else {})

    def _inline(self, name: str) -> bool:
        return self.stage == "static" and named(name).still_settings_inline


class StaticSection(StageSection):
    """Stage 1: still images as static memory. Presets have it with the objectives' own keys, as ``[static]``."""

    stage: ClassVar[str] = "static"
    objective: str = "dc"
    init: Literal["noise", "frame", "median", "mean"] = Field(
        "noise",
        description="start: noise, a frame of a real clip, the median over time of a real clip, or the mean of all "
        "frames of the class",
    )
    steps: Steps = Field(1000, description="optimiser steps on the images")
    network: Literal["convnet", "collapsed", "auto"] = Field(
        "convnet",
        description="convnet: the literature's image network; collapsed: the first of evaluation.models, its kernels "
        "summed over time, which is how it sees still videos (convnet3d; dm and ncfm); auto: collapsed where it can be",
    )
    optimiser: Literal["sgd", "whitened-adam"] = Field(
        "sgd", description="optimiser of the images; whitened-adam: Adam in whitened coordinates, as in stage 2"
    )
    schedule: Literal["constant", "cosine"] = Field("constant", description="learning rate over the steps")
    lr: Rate = Field(0.1, description="learning rate of the images")
    momentum: Fraction = Field(0.5, description="momentum of the images' SGD")
    batch_real: Count = Field(256, description="real frames per class and step")
    checkpoint_every: Every = Field(50, description="steps between two checkpoints")


class DynamicSection(StageSection):
    """Stage 2: dynamic memory and hallucinator (or the pixels of whole clips), as ``[dynamic]`` of presets."""

    stage: ClassVar[str] = "dynamic"
    objective: str = "dm"
    init: Literal["noise", "residual", "motion"] = Field(
        "noise",
        description="start: noise; residual: real clips (pixels), or their luminance less the static memory's; motion: "
        "what moves in real clips, beside the static memory as stage 1 left it (without one, and of pixels: residual)",
    )
    steps: Steps = Field(5000, description="optimiser steps")
    optimiser: Literal["sgd", "adam", "whitened-adam"] = Field(
        "sgd",
        description="optimiser of all that stage 2 learns; whitened-adam: Adam, on memories in whitened coordinates",
    )
    schedule: Literal["constant", "cosine"] = Field("constant", description="learning rates over the steps")
    lr_dynamic: Rate = Field(1e-4, description="learning rate of the dynamic memory, or of the pixels")
    lr_hallucinator: Rate = Field(1e-5, description="learning rate of the hallucinator")
    train_static: bool = Field(False, description="learn the static memory too, where there is one, in stage 2")
    lr_static: Rate = Field(1e-4, description="learning rate of the static memory where train_static is true")
    momentum: Fraction = Field(0.95, description="momentum of SGD")
    batch_real: Count = Field(
        64, description="real clips per class and step, of objectives that draw them class by class"
    )
    embedding: Literal["map", "pooled"] = Field(
        "map",
        description=f"features that {', '.join(names_with('compares_embeddings'))} compare: map: convnet3d's last map "
        "before its average pool, as published; pooled: behind it (other networks have one embedding)",
    )
    eval_every: Every = Field(400, description="steps between two evaluations on the validation split; 0 is one too")
    checkpoint_every: Every = Field(50, description="steps between two checkpoints")


def _name_or_address(stage: str) -> Callable[[Any, ValidatorFunctionWrapHandler], Any]:
    """Return a validator of objectives of ``stage`` that takes addresses, too, if they name an objective of it."""

    def validate(value: Any, names: ValidatorFunctionWrapHandler) -> Any:
        if not is_address(value):
            return names(value)
        try:
            found = named(value)
        except UsageError as error:
            raise _refused(error) from error
        if found.settings_in(stage) is None:
            raise PydanticCustomError("plugin", f"{found.name} does not work in stage {stage}")
        return value

    return validate


def _network_or_address(value: Any, names: ValidatorFunctionWrapHandler) -> Any:
    """Take a network of another package: by its name as an entry point, or by its address if something is there."""
    if isinstance(value, str) and value in offered(NETWORKS):
        return value
    if not is_address(value):
        return names(value)
    try:
        load(value)
    except UsageError as error:
        raise _refused(error) from error
    return value


def _refused(error: UsageError) -> PydanticCustomError:
    text = f"{error.problem.removesuffix('.')} ({error.hint.removesuffix('.')})"
    return PydanticCustomError("plugin", "{text}", {"text": text})


def _with_objectives(base: type[T]) -> type[T]:
    """Return ``base`` with the names of the stage's objectives as values of ``objective``, and with their keys."""
    objectives = working_in(base.stage)
    titles = "; ".join(f"{name}: {each.title}" for name, each in objectives.items())
    fields: dict[str, Any] = {
        "objective": (
            Annotated[Literal[tuple(objectives)], WrapValidator(_name_or_address(base.stage))],
            Field(base.model_fields["objective"].default, description=f"{titles}; or an address, module:Class"),
        )
    }
    inline: list[type[Section]] = []
    for name, each in objectives.items():
        settings = cast(type[Section], each.settings_in(base.stage))
        if base.stage == "static" and each.still_settings_inline:
            inline.append(settings)
        elif settings.model_fields:
            fields[name] = (settings, settings())
    # pydantic takes the fields of the last base first
    section: type[T] = cast(Any, create_model)(base.__name__, __base__=(*inline, base), __module__=__name__, **fields)
    section.__doc__ = base.__doc__
    return section


class StorageSection(Section):
    """The storage of the set. Networks of its evaluation are trained on the clips that its file decodes to."""

    how: str = Field(
        "float32",
        description="float32, float16, uint8, or through a codec at a quality: h264-35, av1-10, jpeg-80, with @SIDE or "
        "@half, :repeatK frames, :444; STILLS+CLIPS: jpeg-80+h264-28; real clips are uint8 where it says float32",
    )
    learn_through: bool = Field(
        False, description="show the objectives what will be decoded, and let their gradients through to the memories"
    )
    every: Every = Field(1, description="steps between two encodings where learn_through is true")
    budget: Size | None = Field(
        None,
        description="bytes per class that the set's file may take, such as 500B or 2kB: the run chooses frames, side, "
        "quality and instances per class on validation, and makes learned clips; unset: as large as the set is",
    )
    rung: str | None = Field(
        None, description="how the budget is spent, which the run writes when it has chosen; unset: still to be chosen"
    )

    @property
    def open_budget(self) -> bool:
        """True if there is a budget that is still to be spent."""
        return self.budget is not None and self.rung is None


class SelectionSection(Section):
    """The choice of real clips: those of a coreset (synthetic.kind = coreset), or those that learning starts from."""

    method: Literal["random", "herding", "k-center", "clusters", "coverage", "easy"] = Field(
        "random",
        description="random; herding (Welling 2009); k-center: greedy (Sener and Savarese 2018); clusters: the clip "
        "nearest to the centre of each, by k-means; coverage: such that all others are like one of them; easy: of the "
        "least loss after a short training",
    )
    features: Literal["trained", "seeded"] = Field(
        "trained", description="of a network trained on all training clips, or of one with its first random weights"
    )
    epochs: Count = Field(20, description="passes over the training clips to train that network")
    batch: Count = Field(16, description="clips per step of that training")


class ExpertsSection(Section):
    """The experts of MTT: networks trained on all real clips, whose weights are kept after every epoch."""

    number: Networks = Field(30, description="experts to train; all of them are used")
    epochs: Count | None = Field(
        None, description="epochs of training; unset: as many as can be drawn, max_start_epoch + expert_epochs - 1"
    )
    lr: Rate = Field(0.01, description="learning rate of their SGD")
    momentum: Fraction = Field(0.0, description="momentum of their SGD")
    weight_decay: Rate = Field(0.0, description="weight decay of their SGD")
    batch: Steps = Field(
        0, description="real clips per training step; 0: a sixteenth of all, at least 16 and at most 256 (as published)"
    )
    stored: Literal["float16", "float32"] = Field("float16", description="precision of the stored weights")


class EvaluationSection(Section):
    """The evaluation of a synthetic set, by networks trained on it from scratch."""

    protocol: Literal["strict", "strict-strong", "strict-teacher", "vdsd"] = Field(
        "strict",
        description="strict: chosen on validation, tested once per video; -strong: AdamW, crops, flips; -teacher: soft "
        "labels too; vdsd: as published, chosen on test (FRePo's own evaluation where labels are own)",
    )
    models: Annotated[
        tuple[
            Annotated[
                Literal[
                    "convnet3d",
                    "convnet3d_small",
                    "convnet3d_collapsed",
                    "convnet_mean",
                    "convnet_mlp",
                    "convnet_rnn",
                    "convnet_gru",
                    "convnet_lstm",
                    "r3d_18",
                    "mc3_18",
                    "r2plus1d_18",
                    "swin3d_t",
                ],
                WrapValidator(_network_or_address),
            ],
            ...,
        ],
        Field(min_length=1, max_length=10, strict=False),
    ] = Field(("convnet3d",), description="networks to train; also addresses of your own, module:Class")
    epochs: Count = Field(500, description="passes over the synthetic set")
    steps: Steps = Field(
        0,
        description="training steps of every network, whatever it learns from, in place of epochs, which give many "
        "clips more steps than few; 0: as many as the epochs make (not vdsd)",
    )
    lr: Rate | None = Field(
        None,
        description="learning rate at the start; unset: the protocol's own (strict 0.003; vdsd as published: 0.01, for "
        "own labels 1e-4)",
    )
    labels: Literal["hard", "own"] = Field(
        "hard", description="hard: the class; own: the set's learned ones, by squared error, for baselines centred ones"
    )
    teacher_epochs: Count = Field(30, description="passes over all training clips to train a teacher (strict-teacher)")
    use_learned_lr: bool = Field(
        False, description="train on the synthetic set with the step size that MTT learned, in place of lr"
    )
    momentum: Fraction = Field(0.9, description="momentum of SGD")
    weight_decay: Rate = Field(5e-4, description="weight decay")
    batch: Count = Field(256, description="clips per training step")
    repeats: Networks = Field(3, description="network seeds of every row of the final table")
    selection_repeats: Networks = Field(
        3, description="network seeds of every evaluation during the run, and of every way to store a baseline"
    )
    selection_stop: Literal["none", "learned"] = Field(
        "none",
        description="when networks that choose stop, never those of the final table: none: after all epochs; learned: "
        "as soon as they have learned what they are shown (not vdsd, which reports them)",
    )
    baselines: (
        Annotated[
            tuple[
                Literal[
                    "random",
                    "class-mean",
                    "compressed-random",
                    "compressed-herding",
                    "compressed-coverage",
                    "compressed-easy",
                ],
                ...,
            ],
            Field(min_length=1, max_length=6, strict=False),
        ]
        | None
    ) = Field(
        None,
        description="what stands beside the set: random real clips of the same number; class-mean, one still; "
        "compressed-random, -herding, -coverage, -easy, clips of as many bytes; unset: the first four of these where a "
        "set is learned, else (or by vdsd) random",
    )
    baseline_clips: Few = Field(
        10,
        description="clips of a class that a compressed baseline has at most, for each instance of the set: of a large "
        "set's bytes more would fit, and its networks take as much longer",
    )


class RunSection(Section):
    """The seed of a run, its device, the number format of its network passes, and what draws its curves."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="the one seed that every random draw comes from")
    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = Field(
        "auto", description="auto, cpu, cuda, cuda:1, mps"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of network passes; auto: bfloat16 where the device is fast at it (a GPU is timed)"
    )
    cuda_graphs: bool = Field(
        False,
        description="on a GPU, record the training steps of networks that judge as CUDA graphs, and train all networks "
        "of a row at once",
    )
    trackers: Annotated[
        tuple[Literal["tensorboard", "wandb", "mlflow", "prometheus"], ...], Field(max_length=4, strict=False)
    ] = Field((), description="tools that get the curves too, each an extra: tensorboard, wandb, mlflow, prometheus")


def _impossible_steps(section: EvaluationSection) -> str:
    """Return why networks of ``section`` cannot be trained by steps, or ""."""
    if split_of_choice(section.protocol) == "test":
        return f"cannot be had with protocol {section.protocol}, which was published with epochs; set it to 0"
    if section.selection_stop != "none":
        return (
            f"goes on to its end, and selection_stop = {section.selection_stop} stops after an epoch; leave one of them"
        )
    return ""


def _impossible_storage(storage: StorageSection, synthetic: SyntheticSection, kind: Kind) -> str:
    """Return why sets of ``kind`` cannot be stored so, or ""."""
    if storage.open_budget:
        return impossible_budget(storage.how, synthetic.ipc, synthetic.labels)
    if storage.rung is not None and (reason := impossible_rung(storage.rung, storage.budget, storage.how, kind.name)):
        return reason
    if wrong := impossible(storage.how, kind):
        return wrong
    if storage.learn_through and not has_losses(storage.how):
        return f"storage.learn_through needs a storage.how that loses something, and {storage.how} does not"
    if storage.learn_through and not kind.learned:
        return f"storage.learn_through needs a set that is learned, which synthetic.kind = {kind.name} is not"
    if storage.every > 1 and not storage.learn_through:
        return "storage.every needs storage.learn_through = true, without which nothing is encoded while learning"
    return ""


_Static = _with_objectives(StaticSection)
_Dynamic = _with_objectives(DynamicSection)


class Preset(Section):
    """A whole preset, resolved. ``published`` is the paper's number as text, if there is one; nothing checks it."""

    title: str = ""
    description: str = ""
    published: str | None = None
    dataset: DatasetSection = DatasetSection()
    synthetic: SyntheticSection = SyntheticSection()
    storage: StorageSection = StorageSection()
    if TYPE_CHECKING:  # a type checker knows neither the names nor the tables of objectives
        static: StaticSection = StaticSection()
        dynamic: DynamicSection = DynamicSection()
    else:
        static: _Static = _Static()
        dynamic: _Dynamic = _Dynamic()
    experts: ExpertsSection = ExpertsSection()
    selection: SelectionSection = SelectionSection()
    evaluation: EvaluationSection = EvaluationSection()
    run: RunSection = RunSection()

    @model_validator(mode="before")
    @classmethod
    def _budgeted(cls, tables: Any) -> Any:
        return for_a_budget(tables)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        section, synthetic, objective = self.dynamic, self.synthetic, named(self.dynamic.objective)
        if section.lr_dynamic == 0 and section.lr_hallucinator == 0 and section.steps > 0:
            raise ValueError("dynamic.steps is above 0 but both learning rates are 0, so nothing would be learned")
        if (number := 1 + -(-section.steps // section.eval_every)) > MOST_EVALUATIONS:
            steps = f"of dynamic.steps = {section.steps}"
            evaluations = f"dynamic.eval_every = {section.eval_every} makes {number} evaluations {steps}"
            raise ValueError(f"{evaluations}, and {MOST_EVALUATIONS} are the most")
        if reason := self.kind.impossible(synthetic) or _impossible_storage(self.storage, synthetic, self.kind):
            raise ValueError(reason)
        if synthetic.n_syn is None and synthetic.segments > 1:
            raise ValueError("synthetic.segments above 1 needs synthetic.n_syn, the frames stored of each")
        if synthetic.labels == "learned" and not objective.learns_labels:
            fitting = f"dynamic.objective = {' or '.join(names_with('learns_labels'))}"
            raise ValueError(f"synthetic.labels = learned needs {fitting}, which learns them")
        if self.evaluation.use_learned_lr and not objective.learns_step_size:
            fitting = f"dynamic.objective = {' or '.join(names_with('learns_step_size'))}"
            raise ValueError(f"evaluation.use_learned_lr needs {fitting}, which learns it")
        if self.evaluation.protocol == "strict-teacher" and self.evaluation.labels == "own":
            raise ValueError("evaluation.labels = own cannot be had with protocol strict-teacher, whose teacher labels")
        if self.evaluation.selection_stop != "none" and split_of_choice(self.evaluation.protocol) == "test":
            stop, protocol = self.evaluation.selection_stop, self.evaluation.protocol
            reason = f"cannot be had with protocol {protocol}, which reports the networks that choose; set it to none"
            raise ValueError(f"evaluation.selection_stop = {stop} {reason}")
        if self.evaluation.steps and (reason := _impossible_steps(self.evaluation)):
            raise ValueError(f"evaluation.steps = {self.evaluation.steps} {reason}")
        if objective.needs_experts and self.evaluation.models[0] in WITH_BUFFERS:
            model = self.evaluation.models[0]
            reason = f"cannot follow {model}, whose state is more than weights"
            raise ValueError(f"dynamic.objective = {section.objective} {reason}; name another first")
        if section.embedding == "pooled" and self.evaluation.models[0] != "convnet3d":
            model = self.evaluation.models[0]
            raise ValueError(f"dynamic.embedding = pooled is convnet3d's; {model} has one embedding")
        if self.static.network == "collapsed":
            if not named(self.static.objective).compares_embeddings:
                able = [name for name, each in working_in("static").items() if each.compares_embeddings]
                fitting = f"static.objective = {' or '.join(able)}"
                raise ValueError(f"static.network = collapsed needs {fitting}, which compares embeddings")
            if self.evaluation.models[0] not in COLLAPSIBLE:
                model = self.evaluation.models[0]
                first = f"{' or '.join(COLLAPSIBLE)} as the first of evaluation.models, not {model}"
                raise ValueError(f"static.network = collapsed needs {first}")
        if self.selection.features == "seeded":
            for key, values, easy in (
                ("selection.method", (self.selection.method,), "easy"),
                ("evaluation.baselines", self.evaluation.baselines or (), "compressed-easy"),
            ):
                if easy in values:
                    raise ValueError(f"{key} = {easy} needs selection.features = trained: it goes by its losses")
        if self.selection.method == "clusters" and self.storage.budget is not None:
            reason = "those of fewer are not the first of more; choose another"
            raise ValueError(f"selection.method = clusters cannot be had with storage.budget: {reason}")
        last = self.expert_snapshots - 1
        if self.experts.epochs is not None and self.experts.epochs < last:
            drawn = f"the last of which dynamic.objective = {section.objective} draws weights"
            raise ValueError(f"experts.epochs = {self.experts.epochs} ends before epoch {last}, {drawn}")
        return self

    @property
    def expert_snapshots(self) -> int:
        """The number of an expert's snapshots that stage 2 can draw, its first weights included; 0 without experts."""
        return named(self.dynamic.objective).expert_snapshots(self.dynamic.settings)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that this preset runs, in order."""
        own = self.kind.stages(self.synthetic)
        experts = ("experts",) if "dynamic" in own and named(self.dynamic.objective).needs_experts else ()
        budget = ("budget",) if self.storage.open_budget else ()
        return ("prepare", *budget, *experts, *own, "evaluate")

    @property
    def kind(self) -> Kind:
        """The description of the set that is made."""
        return KINDS[self.synthetic.kind]

    def value(self, key: str) -> Any:
        """Return the value of ``key``, such as ``dynamic.lr_dynamic``."""
        return functools.reduce(getattr, key.split("."), self)

    def tables(self) -> dict[str, Any]:
        """Return all values as plain tables, without those that are unset."""
        return self.model_dump(exclude_none=True)
