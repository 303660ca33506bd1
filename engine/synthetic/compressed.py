"""Sets in compressed files, and real clips in as many bytes as a set: what is trained on is what was decoded.

"Instances per class" hides bytes, and bytes of float32 hide that nobody stores videos so. Here a set becomes one file
whose every memory is stored as it says, through a codec if it says so, and the file's length is what counts: labels,
hallucinators, class names and all. Decoding takes nothing but the file. If a size were estimated, or a set trained on
before it went through its codec, the comparison at equal bytes would be between things that nobody can hand over.

``encode_set`` and ``decode_set`` go there and back, ``compressed_clips`` makes the baseline of a set: as many real
clips as its bytes can hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from engine.data.batches import RealClips
from engine.errors import DataError
from engine.machine.cores import usable_cores
from engine.synthetic import files
from engine.synthetic.base import SyntheticSet
from engine.synthetic.coded import write_clips
from engine.synthetic.described import Provenance
from engine.synthetic.pixels import Coreset
from engine.synthetic.storage import Storage
from engine.synthetic.streams import Coded, Coding
from engine.text import one_line


@dataclasses.dataclass(frozen=True)
class Stored:
    """A set as a file's content, complete in itself."""

    blob: bytes
    storage: Storage

    @property
    def nbytes(self) -> int:
        """The file's length: all that it takes to have the set."""
        return len(self.blob)

    def decode(self, device: torch.device | str = "cpu") -> SyntheticSet:
        """The set that is in the file, as ``decode_set``."""
        return decode_set(self.blob, device)


def encode_set(synthetic: SyntheticSet, how: Storage | str) -> Stored:
    """``synthetic`` stored as ``how`` says, of unknown provenance; equal sets give equal bytes.

    The content is that of ``to_bytes``. Raises UsageError if ``how`` does not fit the set, DataError for values that it
    cannot hold.
    """
    how = Storage.parse(how) if isinstance(how, str) else how
    how.check_fits(synthetic.description)
    return Stored(files.to_bytes(synthetic, Provenance(), how), how)


def decode_set(blob: bytes, device: torch.device | str = "cpu") -> SyntheticSet:
    """The set in a file's content, float32 on ``device``, as it was before it was stored but for what storing it cost.

    Raises DataError for a damaged one, UsageError for a codec that this machine lacks.
    """
    return files.of_bytes(blob, device).synthetic


# Real clips in as many bytes as a set.

_AT_ONCE = 64
"""Clips that are read at once to tell their bytes."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Real clips that a budget can hold: ``per_class`` of each class, stored by one codec."""

    stored: Stored
    per_class: int

    @property
    def storage(self) -> Storage:
        """The storage of the clips."""
        return self.stored.storage

    @property
    def nbytes(self) -> int:
        """The file's length."""
        return self.stored.nbytes

    def decode(self, device: torch.device | str = "cpu") -> Coreset:
        """Return the clips that networks are trained on."""
        synthetic = self.stored.decode(device)
        assert isinstance(synthetic, Coreset)
        return synthetic


def compressed_clips(
    real: RealClips,
    budget: int,
    order: Sequence[torch.Tensor],
    how: Storage | str,
    *,
    check: Callable[[], None] = lambda: None,
) -> Candidate:
    """Store as many real clips of each class as ``budget`` bytes hold, as ``how``.

    ``order[c]`` has indices of clips of class c, the first to be taken first (random, or chosen). All classes give the
    same number; one that has fewer repeats its own, which costs nothing. No clip is encoded that could not
    have fitted but those of one more per class. ``check`` is called between clips per class, and may raise to stop.
    Raises DataError, naming the fewest bytes, if not even one per class fits, and UsageError unless ``how`` is a codec.
    """
    how = Storage.parse(how) if isinstance(how, str) else how
    found = _fill(real, budget, order, how.codec(), check)
    if isinstance(found, int):
        raise _too_small(budget, found, str(how))
    return found


def fewest_bytes(real: RealClips, budget: int, how: Storage | str) -> int:
    """Return the bytes of the smallest file that has a clip of each class of ``real``, stored as ``how``.

    It ends at the first file that is within ``budget``, so it is cheap unless nothing fits: then every clip is encoded.
    Raises UsageError unless ``how`` is a codec.
    """
    codec = (Storage.parse(how) if isinstance(how, str) else how).codec()
    order = [real.of_class(label) for label in range(len(real.spec.classes))]
    smallest: list[Coded] = []
    size = 0
    with ThreadPoolExecutor(usable_cores()) as pool:
        for number in range(max(map(len, order))):
            chosen = torch.stack([own[number % len(own)] for own in order])
            encoded = list(pool.map(codec.encode_clip, real.view.clips(chosen.numpy())))
            pairs = zip(smallest or encoded, encoded, strict=True)
            smallest = [min(pair, key=lambda clip: sum(map(len, clip.body))) for pair in pairs]
            size = len(write_clips(real.spec, codec, [[clip] for clip in smallest], 1))
            if size <= budget:
                break
    return size


def clip_bytes(real: RealClips, how: Storage | str, check: Callable[[], None] = lambda: None) -> torch.Tensor:
    """Return the bytes that each clip of ``real`` takes as ``how``, int64 (n): of its stream, without what all share.

    ``check`` is called between batches of clips, and may raise. Raises UsageError unless ``how`` is a codec.
    """
    codec = (Storage.parse(how) if isinstance(how, str) else how).codec()
    found: list[int] = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        for indices in torch.arange(len(real)).split(_AT_ONCE):
            check()
            clips = real.view.clips(indices.numpy())
            found += [sum(map(len, clip.body)) for clip in pool.map(codec.encode_clip, clips)]
    return torch.tensor(found, dtype=torch.int64)


def _too_small(budget: int, fewest: int, how: str) -> DataError:
    problem = f"{budget} bytes cannot hold one real clip of each class: by {how} it takes {fewest} bytes or more."
    return DataError(problem, f"Compare with a set of at least {fewest} bytes, or with fewer or smaller clips.")


def _fill(
    real: RealClips, budget: int, order: Sequence[torch.Tensor], codec: Coding, check: Callable[[], None]
) -> Candidate | int:
    """The largest set of ``codec`` within ``budget``, or the bytes of the smallest if that is beyond it."""
    order = [_once(own) for own in order]
    assert len(order) == len(real.spec.classes), len(order)
    for name, own in zip(real.spec.classes, order, strict=True):
        if not len(own):
            raise DataError(f"The class {one_line(name)} has no clips.", "Choose a split with clips of all classes.")

    def clips(number: int, labels: Sequence[int]) -> np.ndarray:
        return real.view.clips(torch.stack([order[label][number] for label in labels]).numpy())

    def write(coded: Sequence[Sequence[Coded]], number: int) -> bytes:
        return write_clips(real.spec, codec, coded, number)

    number, blob = fill([len(own) for own in order], clips, codec, write, budget, check)
    return Candidate(Stored(blob, Storage(codec, codec)), number) if number else len(blob)


def fill(
    available: Sequence[int],
    clips: Callable[[int, Sequence[int]], np.ndarray],
    codec: Coding,
    write: Callable[[Sequence[Sequence[Coded]], int], bytes],
    budget: int,
    check: Callable[[], None] = lambda: None,
) -> tuple[int, bytes]:
    """Return the most clips per class whose file is within ``budget``, and the file; 0, and that of one, if none is.

    ``clips(number, labels)`` are clips ``number`` of the classes ``labels``, uint8 (N, T, H, W, 3), of which class c
    has ``available[c]``; ``write(coded, number)`` is the file of the first ``number`` encoded clips of each. No clip is
    encoded that could not have fitted but those of one more per class. ``check`` may raise between two of them.
    """
    coded: list[list[Coded]] = [[] for _ in available]
    with ThreadPoolExecutor(usable_cores()) as pool:  # coders let go of the interpreter
        for number in range(max(available)):
            check()
            asked = [label for label, own in enumerate(available) if number < own]
            encoded = pool.map(codec.encode_clip, clips(number, asked))
            for label, clip in zip(asked, encoded, strict=True):
                coded[label].append(clip)
            if _least(coded) > budget:
                break
    blob = b""
    for number in range(max(len(own) for own in coded), 0, -1):
        blob = write(coded, number)
        if len(blob) <= budget:
            return number, blob
    return 0, blob


def _once(own: torch.Tensor) -> torch.Tensor:
    """Indices without those that came before: ``select_coreset`` repeats the clips of small classes."""
    return torch.tensor(list(dict.fromkeys(own.tolist())), dtype=torch.int64)


def _least(coded: Sequence[Sequence[Coded]]) -> int:
    """Bytes that a file with these clips has at the least: without all that they share, and a byte for each length."""
    return sum(1 + len(unit) for own in coded for clip in own for unit in clip.body)
