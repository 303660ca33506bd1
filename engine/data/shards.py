"""One prepare shared out among machines that see the same disk.

Each decodes a contiguous part of the videos into a folder of its own beside the output, `NAME.h5.shard-3-of-16`, which
is like that of an unfinished prepare. When all are done, the same command without a shard takes their work over in
order, as if it had been interrupted after the last video: so the file has the bytes that one machine would have given
it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data.partial import PartialClips, exclusive, remove
from engine.errors import UsageError
from engine.files import read_json
from engine.text import one_line

MOST_SHARDS = 10_000

FOLDER = re.compile(r"\.shard-([0-9]{1,5})-of-([0-9]{1,5})")

Check = Callable[[], None]


@dataclass(frozen=True, order=True)
class Shard:
    """Part ``number`` of ``count``, from 1."""

    count: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that is written `3/16`; raises UsageError."""
        number, slash, count = text.partition("/")
        numbers = all(part.isascii() and part.isdecimal() and len(part) <= 5 for part in (number, count))
        if not slash or not numbers or not 1 <= int(number) <= int(count) <= MOST_SHARDS:
            raise UsageError(f"--shard {one_line(text)!r} is no part of a whole.", "Write it like 3/16: part 3 of 16.")
        return cls(int(count), int(number))

    def part(self, total: int) -> range:
        """Return which of ``total`` videos are its own."""
        return range(total * (self.number - 1) // self.count, total * self.number // self.count)

    def folder(self, output: Path) -> Path:
        """Return the folder in which its work lies until all is joined."""
        return output.with_name(f"{output.name}.shard-{self.number}-of-{self.count}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def shards_of(output: Path) -> list[Shard]:
    """Return the shards of ``output`` that were begun, in order; raises UsageError if those of different wholes are."""
    found = []
    for folder in output.parent.glob("*.shard-*-of-*"):
        named = FOLDER.fullmatch(folder.name.removeprefix(output.name))
        if folder.name.startswith(output.name) and named and folder.is_dir() and not folder.is_symlink():
            found.append(Shard(int(named[2]), int(named[1])))
    counts = sorted({shard.count for shard in found})
    if len(counts) > 1:
        raise UsageError(
            f"Beside {one_line(output)} are shards of {counts[0]} and of {counts[1]}.",
            "Remove those that are not meant.",
        )
    return sorted(found)


def join(output: Path, partial: PartialClips, header: dict[str, Any], total: int, check: Check) -> None:
    """Take over into ``partial`` what the shards of ``output`` have done, and remove them.

    Does nothing where there are none. Raises UsageError if one is unfinished, under way, or of other data.
    """
    shards = shards_of(output)
    if not shards:
        return
    needed = [Shard(shards[0].count, number + 1) for number in range(shards[0].count)]
    needed = [shard for shard in needed if shard.part(total).stop > partial.records.done and shard.part(total)]
    unfinished = [shard for shard in needed if _done(shard.folder(output), header, partial) < len(shard.part(total))]
    if unfinished:
        raise UsageError(
            f"{len(unfinished)} of {shards[0].count} shards of {one_line(output)} are not finished, "
            f"first {unfinished[0]}.",
            f"Run them, with the same options as the others and --shard {unfinished[0]}, or remove the folders of all.",
        )
    for shard in needed:
        with exclusive(shard.folder(output)):
            other = PartialClips(shard.folder(output), header, partial.clip_shape)
            try:
                partial.take_over(other, partial.records.done - shard.part(total).start, check)
            finally:
                other.close()
        remove(shard.folder(output))
    for shard in shards:
        remove(shard.folder(output))


def _done(folder: Path, header: dict[str, Any], partial: PartialClips) -> int:
    """Return how many videos a shard has done; raises UsageError if they are of other data, or it is under way."""
    if not folder.is_dir():
        return 0
    with exclusive(folder):
        if read_json(folder / "header.json") != header:
            raise UsageError(
                f"{one_line(folder)} was made of other videos, with other options, or by another version.",
                "Run that shard again with the options of this command, or remove its folder.",
            )
        other = PartialClips(folder, header, partial.clip_shape)
        other.close()
    return other.records.done
