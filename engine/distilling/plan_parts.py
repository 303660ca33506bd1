"""The parts of a planned run: what its rehearsals took, multiplied by how often each thing will happen.

Two rehearsals that differ in nothing but the epochs tell what an epoch costs, and what a network costs beside its
epochs. Steps are timed apart from what happens after some of them only: previews, checkpoints, files of the best set,
encodings, and fills of a bank.
"""

from __future__ import annotations

import dataclasses
import math
import statistics

import torch

from engine.config import Preset
from engine.config.counts import candidates, clips_shown, expert_epochs, feature_epochs, inner_trainings, length_of
from engine.config.objectives import named
from engine.config.schema import DynamicSection, StaticSection
from engine.distilling.learning import preview_every
from engine.distilling.reckoning import FEATURES
from engine.distilling.rehearsal import REFILLED, STEPS, Rehearsal, fewer_networks
from engine.evaluation.trainers import shares
from engine.events import BestChanged, CheckpointSaved, PreviewSaved, Step
from engine.machine.torchrun import started_by_torchrun
from engine.models import choose_device


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a run: ``number`` units of ``what``, and the seconds that they are expected to take."""

    stage: str
    number: int
    what: str
    seconds: float


def parts_of(
    preset: Preset, classes: int, rehearsals: list[Rehearsal], start: float, opening: float, features: float
) -> list[Part]:
    """Return all parts; ``features`` are the seconds of an epoch on all training clips, of which one is tried."""
    first, stages, evaluation = rehearsals[0], preset.stages, preset.evaluation
    fewer = fewer_networks(preset)
    rows = len(preset.kind.rows(preset))
    choose = evaluation.selection_repeats / fewer["selection_repeats"]
    at_once = networks_at_once(preset, evaluation.repeats)
    table = rows * len(evaluation.models)
    final = _longer(table * evaluation.repeats, table * fewer["repeats"], at_once)
    before, between = first.outside()
    parts = [Part("prepare", 1, "data opened, or made", start + before + max(opening, first.stage("prepare")))]
    if rungs := first.rungs():
        known = [(one.length, one.selection()[0]) for one in rehearsals]
        # The rest of an evaluation of the rung that was taken.
        longer = _at(length_of(evaluation), known) - _at(first.length, known)
        shown = sum(clips_shown(evaluation, classes * ipc) for ipc in rungs)
        as_many = shown / clips_shown(evaluation, classes * preset.synthetic.ipc)
        seconds = choose * (first.stage("budget") + longer * as_many)
        networks = len(rungs) * evaluation.selection_repeats
        parts.append(Part("budget", networks, "networks to choose how the budget is spent", seconds))
    if "experts" in stages:
        epochs = expert_epochs(preset)
        parts.append(Part("experts", epochs, "epochs on all training clips", _experts(first, preset)))
    if "static" in stages:
        fills = named(preset.static.objective).banked_networks(preset, "static")
        seconds, filling = _static(preset, rehearsals, fills)
        parts.append(Part("static", preset.static.steps, "steps", seconds))
        if fills:
            parts.append(Part("static", fills, "networks of the target bank", filling))
    if "dynamic" in stages:
        fills = named(preset.dynamic.objective).banked_networks(preset)
        seconds, filling = _dynamic(preset, rehearsals, fills)
        parts.append(Part("dynamic", preset.dynamic.steps, "steps", seconds))
        if fills:
            parts.append(Part("dynamic", fills, "networks of the target bank", filling))
        if first.selection()[0]:
            number = candidates(preset.dynamic)
            known = [(one.length, one.selection()[0]) for one in rehearsals]
            at_once = networks_at_once(preset, evaluation.selection_repeats)
            longer = _longer(evaluation.selection_repeats, fewer["selection_repeats"], at_once)
            seconds = longer * number * _at(length_of(evaluation), known) + first.selection()[1]
            networks = number * evaluation.selection_repeats
            parts.append(Part("dynamic", networks, "networks to choose the step", seconds))
    if "select" in stages:
        more = max(0, feature_epochs(preset, "select") - 1) * features
        parts.append(Part("select", 1, "coreset", first.stage("select") + more))
    if epochs := feature_epochs(preset, "evaluate"):
        parts.append(Part("evaluate", epochs, FEATURES, (epochs - 1) * features))
    choosing = first.baselines()[0]
    if choosing:
        seconds = choose * _at(length_of(evaluation), [(one.length, one.baselines()[1]) for one in rehearsals])
        number = round(choose * choosing)
        parts.append(Part("evaluate", number, "networks to choose the storage of baselines", seconds))
    known = [(one.length, one.stage("evaluate") - one.baselines()[1]) for one in rehearsals]
    networks = table * evaluation.repeats
    seconds = final * _at(length_of(evaluation), known) + between
    return [*parts, Part("evaluate", networks, "networks for the final table", seconds)]


def _static(preset: Preset, rehearsals: list[Rehearsal], fills: int) -> tuple[float, float]:
    """Return the seconds of all steps of stage 1 with what is saved after them, and those of all fills of a bank."""
    section, first = preset.static, rehearsals[0]
    saved = _saved(first, "static", section)
    if not fills or section.steps <= STEPS:
        return _stills(first, preset) + saved, 0.0
    stepped, filling = _stepped([one.steps("static") for one in rehearsals], section.steps, fills)
    return stepped + _encoded(first.encodings("static"), section.steps, preset) + saved, filling


def _dynamic(preset: Preset, rehearsals: list[Rehearsal], fills: int) -> tuple[float, float]:
    """Return the seconds of all steps of stage 2 with what is saved after them, and those of all fills of a bank.

    The best set is counted as if every candidate took the place of the one before.
    """
    section, first = preset.dynamic, rehearsals[0]
    stepped, filling = _stepped([one.steps("dynamic") for one in rehearsals], section.steps, fills)
    encodings = [seconds for one in rehearsals for seconds in one.encodings("dynamic")]
    kept = [seconds for one in rehearsals for seconds in one.spans("dynamic", BestChanged)]
    saved = _saved(first, "dynamic", section) + _all(kept, candidates(section))
    return stepped + _encoded(encodings, section.steps, preset) + saved, filling


def _saved(rehearsal: Rehearsal, stage: str, section: StaticSection | DynamicSection) -> float:
    """Return the seconds of all checkpoints and previews of ``stage``, whose steps ``section`` has."""
    checkpoints = _boundaries(section.steps, section.checkpoint_every)
    previews = _boundaries(section.steps, preview_every(section.steps))
    seconds = _all(rehearsal.spans(stage, CheckpointSaved), checkpoints)
    return seconds + _all(rehearsal.spans(stage, PreviewSaved), previews)


def _experts(rehearsal: Rehearsal, preset: Preset) -> float:
    """Return the seconds of all experts: their epochs, and what each of them takes beside."""
    epochs = rehearsal.spans("experts", Step)
    beside = rehearsal.stage("experts") - sum(epochs)
    return _all(epochs, expert_epochs(preset)) + preset.experts.number * beside


def _stills(rehearsal: Rehearsal, preset: Preset) -> float:
    """Return the seconds of all steps of stage 1, after some of which its network may be trained."""
    section, times = preset.static, rehearsal.steps("static")
    encoded = _encoded(rehearsal.encodings("static"), section.steps, preset)
    if section.steps <= STEPS:
        return sum(times) + encoded  # that was all of it
    if not inner_trainings(section):
        return _all(times, section.steps) + encoded
    first, plain, trained = times  # of a network of two steps: one that it is trained after, one that it is not
    more = max(0.0, trained - plain)
    return section.steps * plain + inner_trainings(section) * more + max(0.0, first - trained) + encoded


def _stepped(runs: list[list[float]], steps: int, fills: int) -> tuple[float, float]:
    """Return the seconds of ``steps`` and those of ``fills`` of a bank; ``runs`` are the steps of each rehearsal."""
    first = runs[0]
    if not first:
        return 0.0, 0.0
    filled = (0, REFILLED) if fills else (0,)
    plain = statistics.median(
        [seconds for times in runs for place, seconds in enumerate(times) if place not in filled] or first
    )
    again = REFILLED if len(first) > REFILLED else 0
    fill = max(0.0, statistics.median(times[again] for times in runs) - plain) if fills else 0.0
    return steps * plain + max(0.0, first[0] - plain - fill), fills * fill


def _encoded(seconds: list[float], steps: int, preset: Preset) -> float:
    """Return the seconds of all encodings in ``steps``; of those tried, 0 are of steps without one."""
    return _all([one for one in seconds if one], -(-steps // preset.storage.every))


def _all(times: list[float], number: int) -> float:
    """Return the seconds of ``number`` of what took ``times``, of which the first has what happens once."""
    if not times or not number:
        return 0.0
    usual = statistics.median(times[1:] or times)
    return number * usual + max(0.0, times[0] - usual)


def _boundaries(steps: int, every: int) -> int:
    """Return how many boundaries of steps are the first, the last, or one that ``every`` divides."""
    return -(-steps // every) + 1


def _at(length: int, known: list[tuple[int, float]]) -> float:
    """Return the seconds of a training of ``length`` on the line through ``known``: pairs of lengths and seconds.

    An epoch, or step, costs no less than nothing.
    """
    few, seconds = known[0]
    more, longer = known[-1]
    one = max(0.0, (longer - seconds) / (more - few)) if more > few else 0.0
    return seconds + (length - few) * one


def _longer(networks: int, tried: int, at_once: int) -> float:
    """Return how many times as long ``networks`` take as those ``tried``, with so many trained ``at_once``.

    Of three networks on two cores the last is trained alone, and takes as long as the two before it.
    """
    return math.ceil(networks / at_once) / math.ceil(tried / at_once)


def networks_at_once(preset: Preset, networks: int) -> int:
    """Return how many of ``networks`` of a row are trained at once."""
    on_cpu = choose_device(preset.run.device).type == "cpu"
    return shares(torch.get_num_threads(), networks)[1] if on_cpu and not started_by_torchrun() else 1
