"""Damaged inputs: every reader, given a file with something in it that nobody wrote, reads it or says what is wrong.

Nothing else may be raised, nothing may hang, take the memory, or end the process, and nothing that a terminal would
obey may be printed. A batch is read by one child, which would take a crash of a library upon itself.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from engine.config import load_preset
from engine.data.decode import SkippedVideo, read_video
from engine.data.layouts import LAYOUTS, list_videos
from engine.data.layouts.base import VideoEntry
from engine.data.store import ClipStore
from engine.data.verify import verify
from engine.errors import VdtuiError
from engine.runs.checkpoints import load_newest
from engine.synthetic import load_set
from tests import layouts
from tests.campaigns.base import SAMPLING, make_base, use_tiny_networks
from tests.campaigns.children import run_child
from tests.campaigns.folders import home
from vdtui.cli.main import main

PER_ATTEMPT = 40
SECONDS = 20
"""The longest that one input may take on a busy machine."""
MEMORY = 3 << 30
"""Bytes that a reader may take beyond what the process has."""
NUMBERS = ("-1", "0", "1e400", "-1e308", "9" * 5000, "18446744073709551616", "NaN", "-Infinity", "0.1", "1e-320")
TEXTS = ('""', '"\\u0000"', '"\\ud800"', '"\\u001b]0;t\\u0007[/bold]"', '"' + "a" * 70000 + '"', '"../../x"', "true")
TEXTS += ("null", "[]", "{}", "[" * 200 + "]" * 200, '{"a":' * 90 + "1" + "}" * 90, '"\\u202e"', "[[],{}]", "nan")
_NUMBER, _TEXT = re.compile(rb"-?\d+(\.\d+)?([eE]-?\d+)?"), re.compile(rb'"[^"\n]*"')


@dataclass(frozen=True)
class Reader:
    """A file below the base, and what is done with it when it is damaged, in a copy of the base."""

    file: str
    read: Callable[[Path], None]
    text: bool = False


class Inputs:
    """The campaign; an attempt is ``PER_ATTEMPT`` damaged inputs of one reader."""

    name = "inputs"

    def __init__(self) -> None:
        use_tiny_networks()
        self._home = home("inputs")
        base = Path(self._home.name) / "base"
        make_base(base)
        for name, make in LISTS.items():
            make(base / name)
        self._work = base.rename(base.with_name("work"))  # the name by which its runs know their files
        self._readers = readers(self._work)

    def close(self) -> None:
        """Remove the folder."""
        self._home.cleanup()

    def attempt(self, seed: int) -> int:
        """Return the number of inputs; raises AssertionError for one that is neither read nor refused."""
        rng = random.Random(f"inputs {seed}")
        reader = rng.choice(self._readers)
        file = self._work / reader.file
        whole = file.read_bytes()
        others = [one.read_bytes() for one in self._work.glob("runs/done/*.json")]
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        try:
            ended = run_child(
                lambda: _read_batch(reader, file, whole, others, seed), patience=PER_ATTEMPT * SECONDS, memory=MEMORY
            )
        finally:
            file.unlink(missing_ok=True)
            file.write_bytes(whole)
        assert ended.code == 0 and not ended.hung, f"{reader.file}: exit code {ended.code}\n{ended.output[-4000:]}"
        assert "Traceback" not in ended.output and "\x1b" not in ended.output, f"{reader.file}\n{ended.output[-4000:]}"
        return PER_ATTEMPT


def _read_batch(reader: Reader, file: Path, whole: bytes, others: list[bytes], seed: int) -> int:
    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"it takes longer than {SECONDS} s")

    signal.signal(signal.SIGALRM, too_long)
    for number in range(PER_ATTEMPT):
        rng = random.Random(f"{seed} {number}")
        file.unlink(missing_ok=True)
        file.write_bytes(damaged(whole, others, rng, reader.text))
        signal.alarm(SECONDS)
        try:
            reader.read(file)
        except VdtuiError as error:
            for line in (error.problem, error.hint):
                assert line and "\n" not in line, f"not one line: {line!r}"
        except BaseException:
            print(f"input {number}, {file.stat().st_size} bytes", flush=True)  # noqa: T201
            shutil.copy(file, "/tmp/vdtui-damaged" + file.suffix)
            raise
        signal.alarm(0)
    return 0


def damaged(whole: bytes, others: list[bytes], rng: random.Random, text: bool) -> bytes:
    """Return ``whole`` with one to four damages: of bytes, and of the words of a text if it is one."""
    content = whole
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        ways = [_flip, _overwrite, _cut, _insert, _remove, _repeat, _zero]
        if text:
            ways += 3 * [partial(_reword, _NUMBER, NUMBERS), partial(_reword, _TEXT, TEXTS), _swap_lines]
        content = rng.choice(ways)(content, rng)
    if rng.random() < 0.02:
        content = rng.choice([b"", b"\0" * 100, b"\xef\xbb\xbf" + whole, whole + whole, *others])
    return content


def _place(content: bytes, rng: random.Random) -> int:
    """Return a place in ``content``; headers and ends are damaged more often than what is between."""
    end = len(content)
    return rng.choice((rng.randint(0, end), rng.randint(0, min(end, 600)), rng.randint(max(0, end - 600), end)))


def _flip(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return content
    changed, at = bytearray(content), min(_place(content, rng), len(content) - 1)
    changed[at] ^= 1 << rng.randint(0, 7)
    return bytes(changed)


def _overwrite(content: bytes, rng: random.Random) -> bytes:
    at, new = _place(content, rng), rng.choice((b"\xff" * 8, rng.randbytes(rng.randint(1, 16)), b"\x7f\xff\xff\xff"))
    return content[:at] + new + content[at + len(new) :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: _place(content, rng)]


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = _place(content, rng)
    return content[:at] + rng.randbytes(rng.randint(1, 40)) + content[at:]


def _remove(content: bytes, rng: random.Random) -> bytes:
    at = _place(content, rng)
    return content[:at] + content[at + rng.randint(1, 100) :]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    at, to = sorted((_place(content, rng), _place(content, rng)))
    return content[:to] + content[at : min(to, at + 5000)] + content[to:]


def _zero(content: bytes, rng: random.Random) -> bytes:
    at, length = _place(content, rng), rng.choice((1, 8, 512, 4096))
    return content[:at] + b"\0" * len(content[at : at + length]) + content[at + length :]


def _reword(pattern: re.Pattern[bytes], words: tuple[str, ...], content: bytes, rng: random.Random) -> bytes:
    found = [*pattern.finditer(content)]
    if not found:
        return content
    one = rng.choice(found)
    return content[: one.start()] + rng.choice(words).encode() + content[one.end() :]


def _swap_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if len(lines) > 1:
        one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[one] = rng.choice((lines[other], b"", lines[one] + lines[one]))
    return b"".join(lines)


# --- readers ---------------------------------------------------------------------------------------------------------

LISTS: dict[str, Callable[[Path], Path]] = {
    "hmdb51": layouts.make_hmdb51,
    "ucf101": layouts.make_ucf101,
    "kinetics400": layouts.make_kinetics400,
    "ssv2": layouts.make_ssv2,
    "table": layouts.make_table,
}
"""Sources whose listing reads split files."""


def readers(work: Path) -> list[Reader]:
    """Return all readers of the folder ``work``."""
    run = work / "runs" / "done"
    found = [
        Reader("clips.h5", _clips),
        Reader("runs/done/synthetic/best.safetensors", _set),
        Reader("set.vds", _set),
        Reader("videos/train/moving/0.mp4", _video),
        *(Reader(str(path.relative_to(work)), _checkpoint) for path in sorted((run / "checkpoints").iterdir())[-1:]),
        Reader("runs/done/preset.toml", _preset, text=True),
        *(Reader(f"runs/done/{name}", _run, text=True) for name in RUN_FILES),
        *(Reader(str(path.relative_to(work)), _run, text=True) for path in sorted(run.glob("evaluations/result-*"))),
        *(Reader(str(path.relative_to(work)), _run) for path in sorted(run.glob("previews/*"))[:1]),
    ]
    for name in LISTS:
        files = [path for path in (work / name).rglob("*") if path.suffix in (".txt", ".csv", ".json")]
        found += [Reader(str(path.relative_to(work)), partial(_listed, name), text=True) for path in sorted(files)[:3]]
    return found


RUN_FILES = ("events.jsonl", "meta.json", "status.json", "control.json", "preset.toml")


def _clips(file: Path) -> None:
    with ClipStore.open(file) as store:
        for name in ("train", "test"):
            view = store.split(name)
            if len(view):
                view.clips([0, len(view) - 1])
                view.frames_at([0], [0])
    verify(file)


def _set(file: Path) -> None:
    dataset = load_set(file).synthetic.as_dataset()
    for number in range(min(4, len(dataset))):  # type: ignore[arg-type]
        dataset[number]


def _video(file: Path) -> None:
    found = read_video(VideoEntry(file, file.name, 0, "train"), SAMPLING)
    if isinstance(found, SkippedVideo):
        assert found.reason.isprintable(), found.reason


def _checkpoint(file: Path) -> None:
    for other in file.parent.iterdir():
        if other != file:
            other.unlink()
    load_newest(file.parent)


def _preset(file: Path) -> None:
    load_preset(str(file))


def _listed(layout: str, file: Path) -> None:
    assert layout in LAYOUTS
    list_videos(layout, next(parent for parent in file.parents if parent.name == layout))


def _run(file: Path) -> None:
    """Look at the run by one of the commands that read it; its content says by which."""
    runs = next(parent for parent in file.parents if parent.name == "runs")
    commands = (
        ("runs",),
        ("runs", "--json"),
        ("show", "done"),
        ("show", "done", "--json"),
        ("compare", "done"),
        ("report", "done", "--output", str(runs.parent / "page.html")),
    )
    words = commands[sum(file.read_bytes()) % len(commands)]
    sys.argv = ["vdtui", *words, "--runs-dir", str(runs)]
    try:
        main()
    except SystemExit as end:
        assert end.code in (0, 1, 2), f"{words}: exit code {end.code}"
