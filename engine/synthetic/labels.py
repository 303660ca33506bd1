"""Soft labels in a few bytes: what a network shall say of each clip, as its likeliest classes in a few bits each.

In float32 the labels of a set of 51 classes take 204 bytes a clip, which is as much as a small clip. Their likeliest
three classes with 4 bits each take four or five. Hard labels follow from the order of the clips, and take nothing.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from engine.synthetic.streams import damaged


@dataclasses.dataclass(frozen=True)
class LabelCode:
    """The storage of the labels of a set of ``classes`` classes: the ``top`` likeliest of each, in ``bits`` bits.

    A label is stored as its likeliest classes in order (the lower index first where two are equally likely), and of
    each a code in 0..2^bits - 1 = L, which stands for the share code / L. What they leave of 1 is shared by all other
    classes; where they leave nothing, codes stand for their share of their sum. Codes are shares rounded half to even;
    then the first is raised until no other class has as large a share.
    """

    classes: int
    top: int = 3
    bits: int = 4

    def __post_init__(self) -> None:
        assert self.classes >= 1 and self.top >= 1 and 1 <= self.bits <= 8, self

    @property
    def _kept(self) -> int:
        return min(self.top, self.classes)

    @property
    def _index_bits(self) -> int:
        return max(1, (self.classes - 1).bit_length())

    def nbytes(self, number: int) -> int:
        """Bytes of ``number`` labels: the bits of all of them, rounded up once."""
        return -(-number * self._kept * (self._index_bits + self.bits) // 8)

    def encode(self, labels: np.ndarray) -> bytes:
        """The content that stores ``labels`` (N, classes): each is not negative, and sums to 1."""
        assert labels.ndim == 2 and labels.shape[1] == self.classes, labels.shape
        assert (labels >= 0).all() and np.allclose(labels.sum(1), 1, atol=1e-3), "labels are distributions"
        digits = ""
        for label in labels.astype(np.float64):
            order = np.argsort(-label, kind="stable")[: self._kept]
            codes = np.rint(label[order] / label.sum() * self._levels).astype(int).tolist()
            while not self._leads(order, codes):
                codes[0] += 1
            for index, code in zip(order.tolist(), codes, strict=True):
                digits += f"{index:0{self._index_bits}b}{code:0{self.bits}b}"
        size = self.nbytes(len(labels))
        return int(digits.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")

    def decode(self, content: bytes, number: int) -> np.ndarray:
        """The ``number`` labels in ``content``: float32 (number, classes), each with a sum of 1. Raises DataError."""
        if len(content) != self.nbytes(number):
            raise damaged(f"{len(content)} bytes for {number} labels of {self.classes} classes")
        width = self._index_bits + self.bits
        digits = f"{int.from_bytes(content, 'big'):0{8 * len(content)}b}"
        if "1" in digits[number * self._kept * width :]:
            raise damaged("labels with something behind their end")
        labels = np.empty((number, self.classes), np.float32)
        for row in range(number):
            fields = [digits[(row * self._kept + k) * width :][:width] for k in range(self._kept)]
            order = [int(field[: self._index_bits], 2) for field in fields]
            codes = [int(field[self._index_bits :], 2) for field in fields]
            if max(order) >= self.classes or len(set(order)) < len(order) or not self._leads(order, codes):
                raise damaged(f"label {row} with the classes {order} and the codes {codes}")
            labels[row] = self._shares(order, codes)
        return labels

    @property
    def _levels(self) -> int:
        return (1 << self.bits) - 1

    def _shares(self, order: np.ndarray | list[int], codes: list[int]) -> np.ndarray:
        """The distribution, float64 (classes), that the codes of the classes ``order`` stand for."""
        rest, others = max(0, self._levels - sum(codes)), self.classes - len(codes)
        shares = np.full(self.classes, rest / others if others else 0.0)
        shares[order] = codes
        return shares / shares.sum()

    def _leads(self, order: np.ndarray | list[int], codes: list[int]) -> bool:
        """Return whether the first class has the largest share, and no other has as large a one."""
        rest, others = max(0, self._levels - sum(codes)), self.classes - len(codes)
        return codes[0] > max(codes[1:], default=0) and (codes[0] * others > rest or not others)
