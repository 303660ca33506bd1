"""If these fail, a card of one epoch says "1 epochs"."""

from engine.text import counted


def test_one_is_singular() -> None:
    """Also in words whose plural is not that of most."""
    assert [counted(number, "clip") for number in (0, 1, 2, 1234)] == ["0 clips", "1 clip", "2 clips", "1,234 clips"]
    assert [counted(number, "class has", "classes have") for number in (1, 2)] == ["1 class has", "2 classes have"]
