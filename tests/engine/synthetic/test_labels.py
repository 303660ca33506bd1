"""Labels in a few bytes: what a user loses here is what a network was to be told of a clip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from engine.synthetic.labels import LabelCode


@st.composite
def coded(draw: st.DrawFn) -> tuple[LabelCode, np.ndarray]:
    """A code and some distributions over its classes, flat, steep, or with equals."""
    classes = draw(st.integers(1, 60))
    code = LabelCode(classes, top=draw(st.integers(1, 5)), bits=draw(st.integers(1, 8)))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    rows = [rng.dirichlet(np.full(classes, draw(st.sampled_from([0.05, 1.0, 100.0])))) for _ in range(3)]
    rows.append(np.full(classes, 1 / classes))
    rows.append(np.eye(classes)[classes // 2])
    return code, np.stack(rows).astype(np.float32)


@given(coded())
def test_labels_are_distributions_with_the_same_first_class(case: tuple[LabelCode, np.ndarray]) -> None:
    """A label that named another class would teach the wrong one."""
    code, labels = case
    back = code.decode(code.encode(labels), len(labels))
    assert back.dtype == np.float32 and back.shape == labels.shape and (back >= 0).all()
    assert np.abs(back.astype(np.float64).sum(1) - 1).max() < 1e-5
    assert np.array_equal(back.argmax(1), labels.argmax(1))
    others = np.sort(back, axis=1)[:, -2:]
    assert code.classes == 1 or (others[:, 1] > others[:, 0]).all()


@given(coded())
def test_labels_take_the_bits_that_are_said(case: tuple[LabelCode, np.ndarray]) -> None:
    """For each kept class its index and its code, and up to seven bits at the end of all labels."""
    code, labels = case
    index_bits = max(1, int(np.ceil(np.log2(code.classes))))
    bits = len(labels) * min(code.top, code.classes) * (index_bits + code.bits)
    assert len(code.encode(labels)) == code.nbytes(len(labels)) == int(np.ceil(bits / 8))


def test_three_classes_of_51_take_four_bytes() -> None:
    """Where float32 takes 204."""
    labels = np.random.default_rng(0).dirichlet(np.full(51, 0.1), 8)
    assert len(LabelCode(51).encode(labels)) == 30


def test_a_label_is_rounded_by_hand() -> None:
    """Fifteenths of .62, .21 and .1 are 9.3, 3.15 and 1.5; two of fifteen are left for two other classes."""
    label = np.array([[0.03, 0.62, 0.1, 0.21, 0.04]])
    code = LabelCode(5)
    bits = "001100101100110100010"  # 1.5 is rounded to the even 2
    assert code.encode(label) == int(bits + "000", 2).to_bytes(3, "big")
    back = code.decode(code.encode(label), 1)
    assert np.abs(back - np.array([[0.5, 9, 2, 3, 0.5]]) / 15).max() < 1e-7


def test_the_error_of_a_share_is_a_rounding() -> None:
    """Two classes, so that nothing is shared out: half a step, and half of one more where the sum is not 15."""
    first = np.linspace(0.55, 1, 40)
    labels = np.stack([first, 1 - first], 1)
    back = LabelCode(2).decode(LabelCode(2).encode(labels), 40)
    assert np.abs(back - labels).max() <= 1 / 15


def test_no_labels_take_no_bytes() -> None:
    """Hard labels follow from the order of the clips."""
    assert LabelCode(7).encode(np.zeros((0, 7))) == b"" and LabelCode(7).decode(b"", 0).shape == (0, 7)


@given(coded(), st.data())
def test_damaged_labels_give_distributions_or_an_error(case: tuple[LabelCode, np.ndarray], data: st.DataObject) -> None:
    """Never another exception, nor numbers that are no distribution."""
    code, labels = case
    content = bytearray(code.encode(labels))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    kept = bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        back = code.decode(kept, len(labels))
    except DataError as error:
        assert "\n" not in error.problem and error.hint
        return
    assert np.abs(back.astype(np.float64).sum(1) - 1).max() < 1e-5 and (back >= 0).all()


@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"\0\0\0", b"\x31\x8e\x01", b"\x31\x8e\0\0", b""], ids=bytes.hex)
def test_labels_that_nobody_wrote_are_refused(content: bytes) -> None:
    """Unknown classes, one class twice, none that leads, bits behind the end, too many bytes, too few."""
    with pytest.raises(DataError):
        LabelCode(5).decode(content, 1)
