"""Where the bytes of a coded set file go, piece by piece.

python docs/experiments/dissect.py RUN/synthetic/best.vds
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from engine.config.kinds import KINDS
from engine.synthetic import Storage
from engine.synthetic.container import pack, unpack

NAL = {7: "SPS", 8: "PPS", 5: "key frames", 1: "other frames", 6: "SEI"}


def main() -> None:
    """Print a table of the file's pieces; of a part of H.264, its kinds of units."""
    content = Path(sys.argv[1]).read_bytes()
    head, parts = unpack(content)
    rows = [("magic, version, checksum", 8), ("head", len(content) - 8 - sum(map(len, parts.values())))]
    pictures = [part for part in KINDS[head["kind"]].parts if part.channels]
    coded = {part.name for part in pictures if Storage.parse(head["storage"]).of(part).name == "h264"}
    for name, part in parts.items():
        rows += h264(name, part) if name in coded else [(name, len(part))]
    head = {name: value for name, value in head.items() if name != "parts"}
    assert pack(head, parts) == content, "packed by another zlib"
    print(f"| piece of {len(content):,} bytes | bytes |\n|---|---|")  # noqa: T201
    for name, size in rows:
        print(f"| {name} | {size:,} |")  # noqa: T201
    without = {name: len(content) - len(pack({k: v for k, v in head.items() if k != name}, parts)) for name in head}
    told = ", ".join(f"{name} {size}" for name, size in sorted(without.items(), key=lambda item: -item[1]))
    print(f"\nThe file is shorter without: {told}")  # noqa: T201


def h264(name: str, part: bytes) -> list[tuple[str, int]]:
    """The bytes of each kind of unit in a part, how many there are, and the bytes of their lengths."""
    sizes: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    at = 0
    while at < len(part):
        digits = next(n for n in range(5) if part[at + n] < 128) + 1
        length = sum((part[at + n] & 127) << 7 * n for n in range(digits))
        kind = NAL.get(part[at + digits] & 31, "other units")
        sizes["lengths"] += digits
        sizes[kind] += length
        numbers[kind] += 1
        at += digits + length
    return [(f"{name}: {f'{numbers[kind]} ' if numbers[kind] else ''}{kind}", size) for kind, size in sizes.items()]


if __name__ == "__main__":
    main()
