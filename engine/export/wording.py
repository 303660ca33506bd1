"""The wording of reports: names of results, numbers with their spread, and the headline in plain sentences.

The headline is built from the results that a run has. It says how the number came about: the split that chose the
iteration, the number of networks, and whether the difference to real clips is larger than the spread of the networks.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

from engine.config.kinds import CLASS_MEAN, KINDS, MEAN_FRAME
from engine.runs.baselines import Standing, all_clips_bytes, is_ahead, standing
from engine.runs.differences import Difference
from engine.runs.results import training_steps

Result = Mapping[str, Any]

LEARNED = tuple(name for name, kind in KINDS.items() if kind.in_stage_2)
LABELS = {name: kind.label for name, kind in KINDS.items()} | {
    MEAN_FRAME: "mean frame of each class",
    CLASS_MEAN: "mean frames of the classes",
    "random": "random real clips",
    "herding": "real clips chosen by herding",
    "k-center": "real clips chosen by k-center",
    "clusters": "real clips chosen one for each cluster",
    "coverage": "real clips chosen to cover their classes",
    "easy": "real clips chosen as the easiest",
    "compressed-random": "compressed random real clips",
    "compressed-herding": "compressed real clips chosen by herding",
    "compressed-coverage": "compressed real clips chosen to cover their classes",
    "compressed-easy": "compressed real clips chosen as the easiest",
}
MANY_MORE = 2
"""The multiple of its baseline's training steps from which a set's lead is a matter of training, too."""
MODELS = {"convnet3d": "ConvNet3D"}
SPLITS = {"val": "validation split", "test": "test split"}
SELECTED = {
    "val": "the iteration was chosen on the validation split, which was held out of training",
    "test": "the iteration was chosen on the test split itself, which flatters the number",
    "none": "no iteration was chosen: the set is that of the last step",
}


def label(what: object) -> str:
    """Return the subject of a result, such as ``random``, in words."""
    return LABELS.get(str(what), str(what))


def model_name(result: Result) -> str:
    """Return the name of the network of a result."""
    model = str(result.get("model") or "network")
    return MODELS.get(model, model)


def number(value: object) -> float | None:
    """Return ``value`` if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def values_of(result: Result, measure: str = "top1") -> list[tuple[str, float]]:
    """Return (seed, accuracy) of each network of a result; the seed is "" where it is unknown."""
    table = result.get(measure)
    values = table.get("values") if isinstance(table, Mapping) else None
    if not isinstance(values, Sequence) or isinstance(values, str):
        return []
    seeds = table.get("seeds") if isinstance(table, Mapping) else None
    known = (
        [str(seed) for seed in seeds]
        if isinstance(seeds, Sequence) and len(seeds) == len(values)
        else [""] * len(values)
    )
    pairs = ((seed, number(value)) for seed, value in zip(known, values, strict=True))
    return [(seed, value) for seed, value in pairs if value is not None]


def mean_std(result: Result, measure: str = "top1") -> tuple[float, float | None] | None:
    """Return mean and standard deviation of a result as fractions; the latter is None for a single network."""
    table = result.get(measure)
    mean = number(table.get("mean")) if isinstance(table, Mapping) else None
    if mean is None or not isinstance(table, Mapping):
        return None
    return mean, number(table.get("std")) if len(values_of(result, measure)) != 1 else None


def percent(fraction: object) -> str:
    """Return a fraction in percent, such as ``51.2 %``; "–" if it is no number."""
    value = number(fraction)
    return "–" if value is None else f"{100 * value:.1f} %"


def accuracy(result: Result, measure: str = "top1") -> str:
    """Return mean and spread, such as ``51.2 ± 1.3 %``; of a single network the mean alone; "–" without a mean."""
    found = mean_std(result, measure)
    if found is None:
        return "–"
    mean, std = found
    return percent(mean) if std is None else f"{100 * mean:.1f} ± {100 * std:.1f} %"


def size(count: object) -> str:
    """Return a number of bytes in decimal units, such as ``812 B``, ``24.3 kB`` or ``1.2 MB``."""
    value = number(count)
    if value is None:
        return "–"
    if value < 1000:
        return f"{value:.0f} B"
    unit = ""
    for unit in ("kB", "MB", "GB"):  # noqa: B007 - the last one is used below
        value /= 1000
        if value < 999.5:
            break
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def count(value: object) -> str:
    """Return a whole number with a narrow space between its thousands."""
    found = number(value)
    return "–" if found is None else f"{found:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def duration(seconds: object) -> str:
    """Return a duration, such as ``41 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    value = number(seconds)
    if value is None:
        return "–"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(seconds: object) -> str:
    """Return Unix seconds as a date and time in UTC."""
    value = number(seconds)
    try:
        return (
            datetime.datetime.fromtimestamp(value or 0, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC") if value else "–"
        )
    except (OverflowError, ValueError, OSError):
        return "–"


def main_result(results: Sequence[Result]) -> Result | None:
    """Return the result of the learned set, else the first one; None without results."""
    learned = [result for result in results if result.get("what") in LEARNED]
    return next(iter(learned or results), None)


def headline(results: Sequence[Result], classes: int | None) -> str:
    """Return the results in one plain sentence; "" if there are none."""
    main = main_result(results)
    if main is None or mean_std(main) is None:
        return ""
    networks = len(values_of(main))
    counted = f" ({networks} network{'s' if networks != 1 else ''})" if networks else ""
    scope = [f"{classes} classes"] if classes else []
    scope += [f"IPC {main['ipc']}"] if number(main.get("ipc")) is not None else []
    subject = "the synthetic set" if main.get("what") in LEARNED else label(main.get("what"))
    first = f"a {model_name(main)} trained on {subject} reaches {accuracy(main)} top-1 on test{counted}"
    parts = [f"{', '.join(scope)}: {first}" if scope else f"A{first[1:]}"]
    parts += [f"{_beside(other, main)} {accuracy(other)}" for other in results if other is not main and mean_std(other)]
    return "; ".join([*parts, _chosen(main)]) + "."


def _beside(other: Result, main: Result) -> str:
    if other.get("what") == "random":
        if (found := number(other.get("distinct_clips"))) is not None:
            return f"random real clips ({count(found)} different ones)"
        same = other.get("ipc") == main.get("ipc")
        return "as many random real clips" if same else f"random real clips at IPC {other.get('ipc')}"
    kind = KINDS.get(str(other.get("what")))
    return label(other.get("what")) if kind is None else kind.beside or kind.label


def _chosen(result: Result) -> str:
    step = f" at step {result['step']}" if number(result.get("step")) is not None else ""
    if result.get("selected_on") == "val":
        return "chosen on the validation split" + step
    if result.get("selected_on") == "test":
        return f"chosen on the test split itself{step}, which flatters the number"
    return "nothing was chosen" + (f": the set of step {result['step']}" if step else "")


def verdict(results: Sequence[Result]) -> str:
    """Say how the main result stands among its baselines, and in how many bytes; "" if there are none."""
    main = main_result(results)
    return "" if main is None or mean_std(main) is None else " ".join(told_of(main, results))


def told_of(result: Result, results: Sequence[Result]) -> list[str]:
    """Return the sentences on ``result``: whether it is ahead of its baselines among ``results``, its step, its bytes.

    Each a sentence or two; none of real clips that no run chose.
    """
    known = [dict(one) for one in results if mean_std(one) is not None]
    own = dict(result)
    if (found := standing(own, known)) is not None:
        sentences = [against(found)]
    else:
        beyond = standing({**own, "bytes": 1 << 62}, [one for one in known if one["what"] == "random"])
        sentences = [] if beyond is None else [_larger(beyond)]
    return [*sentences, *filter(None, (beside_random(result, known), not_learned(result), larger_than_all(result)))]


def against(found: Standing) -> str:
    """Say whether a set is ahead of its best baseline by more than noise, and what to try if it is not."""
    over, reached = found.over, f"{_clips(found.baseline)} reach {accuracy(found.baseline)}"
    if over.verdict == "better":
        left = ", though more of them would fit" if found.baseline.get("capped") else ""
        return f"That is {interval(over)} points over the best baseline: {reached}{left}.{_longer(found)}"
    if is_ahead(over):
        why = "and a single network has no spread to tell by"
        return f"That is {interval(over)} points over the best baseline, {why}: {reached}.{_longer(found)}"
    subject = "Distillation" if _is_learned(found.result) else "This choice of clips"
    remarks = {
        "within noise": ", which is within noise",
        "no interval": "; a single network has no spread to tell by",
    }
    noise = remarks.get(over.verdict, "")
    return f"{subject} did not help here: {reached}, a difference of {interval(over)} points{noise}. {_try(found)}"


def _longer(found: Standing) -> str:
    """Say, as a sentence of its own, that networks of a set were trained for many more steps than its baseline's."""
    own, theirs = training_steps(found.result), training_steps(found.baseline)
    if own is None or theirs is None or own < MANY_MORE * theirs:
        return ""
    steps = f"networks of the set made {count(own)} steps, those of the baseline {count(theirs)}"
    remedy = f"with evaluation.steps={own} all make as many"
    return f" Part of that may be training: {steps}; {remedy}."


def _is_learned(result: Result) -> bool:
    made = KINDS.get(str(result.get("what")))
    return made is not None and made.learned


def beside_random(result: Result, results: Sequence[Result]) -> str:
    """Say that as many random real clips in more bytes are as good as a learned set, where they are; else "".

    Clips in at most as many bytes are baselines, on which ``against`` speaks.
    """
    own = number(result.get("bytes"))
    if not _is_learned(result) or own is None:
        return ""
    larger = [dict(one) for one in results if one["what"] == "random" and (number(one.get("bytes")) or 0) > own]
    found = standing({**result, "bytes": 1 << 62}, larger)
    if found is None or is_ahead(found.over):
        return ""
    behind = "is behind" if found.over.verdict == "worse" else "is not ahead by more than noise of"
    return f"It {behind} {_clips(found.baseline)}: {interval(found.over)} points."


def learned_by(result: Result) -> str:
    """Name, behind the label of a result, the objective that its set was learned by; "" for what was not learned."""
    objective = result.get("objective")
    if not isinstance(objective, str) or not objective:
        return ""
    return ", as stage 2 began with it (step 0)" if not_learned(result) else f", by {objective}"


def not_learned(result: Result) -> str:
    """Say that a learned set is the one that learning began with, where step 0 was chosen, and what to try; else ""."""
    made = KINDS.get(str(result.get("what")))
    if made is None or not made.in_stage_2 or result.get("step") != 0 or result.get("selected_on") not in SPLITS:
        return ""
    chosen = (
        f"Step 0, the start, was chosen on the {SPLITS[str(result['selected_on'])]}: no later step was better there"
    )
    return f"{chosen}, so learning did not help here. Try more steps, another rate (dynamic.lr_dynamic) or objective."


def _larger(found: Standing) -> str:
    """The difference to real clips that take more bytes, where none of at most as many stand beside a set."""
    text = f"{_clips(found.baseline)}: {interval(found.over)} points, {found.over.verdict}"
    return f"No real clips of at most as many bytes stand beside it; against {text}."


def _clips(baseline: Result) -> str:
    """A baseline in words, with its number and bytes."""
    ipc, storage = baseline.get("ipc"), baseline.get("storage")
    how = f" as {storage}" if storage else ""
    return f"{label(baseline.get('what'))} ({ipc} per class{how}, {size(baseline.get('bytes'))} in all)"


def _try(found: Standing) -> str:
    """Return advice on what may help, the likeliest first."""
    if all_clips_bytes(dict(found.result)) is not None:
        return "Try a set of fewer bytes: smaller memories, or a storage that `vdtui study bytes` finds good enough."
    if not _is_learned(found.result):
        return "Try another choice, or clips that are learned: vdtui distill."
    if found.over.verdict == "within noise" and found.over.value > 0:
        return "Try more networks (evaluation.repeats), which make the interval smaller, or more steps."
    return "Try more and smaller instances, another objective, or more steps."


def interval(over: Difference) -> str:
    """``+3.2 [1.0, 5.4]``: a difference in points and its interval, if it has one."""
    value = f"{100 * over.value:+.1f}"
    if over.low is None or over.high is None:
        return value
    return f"{value} [{100 * over.low:.1f}, {100 * over.high:.1f}]"


def larger_than_all(result: Result) -> str:
    """Say what all training clips take as a codec stores them, where that is less than ``result`` takes; else ""."""
    bytes_ = all_clips_bytes(dict(result))
    if bytes_ is None:
        return ""
    found = result["all_clips"]
    codec, _, quality = str(found.get("storage")).partition("-")
    how = f"H.264 crf {quality}" if codec == "h264" else str(found.get("storage"))
    about = "" if found.get("encoded") == found.get("clips") else "about "
    return f"All training clips take {about}{size(bytes_)} as {how}; this set takes {size(result.get('bytes'))}."
