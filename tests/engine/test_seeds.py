"""Named seeds: what a user loses here is that a published seed, or a resumed run, gives the published set."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.seeds import derive, generator

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/"), max_size=12)
NUMBERS = st.lists(st.integers(0, 10**9), max_size=3).map(tuple)


def test_the_derivation_never_changes() -> None:
    """A new version that derived otherwise could not repeat a run of this one. Numbers from sha256sum in a shell."""
    assert derive(7, "dm-real", 3, 1) == 7205212369908848242
    assert derive(0, "holdout") == 464821654724290003


@given(st.tuples(st.integers(0, 2**31), NAMES, NUMBERS), st.tuples(st.integers(0, 2**31), NAMES, NUMBERS))
def test_seed_name_and_numbers_all_count(one: tuple, other: tuple) -> None:
    """Two purposes with one stream would make draws that should be independent the same."""
    assert (derive(one[0], one[1], *one[2]) == derive(other[0], other[1], *other[2])) == (one == other)
    assert 0 <= derive(one[0], one[1], *one[2]) < 2**63


def test_neighbouring_numbers_do_not_run_together() -> None:
    """Step 1 of class 12 is not step 11 of class 2."""
    assert len({derive(0, "a", 1, 12), derive(0, "a", 11, 2), derive(0, "a", 112), derive(0, "a1", 12)}) == 4


def test_draws_do_not_depend_on_what_was_drawn_before() -> None:
    """A resumed run, which skips the earlier draws, must draw what the uninterrupted run drew."""
    first = torch.rand(5, generator=generator(3, "x", 57))
    torch.rand(100)
    torch.rand(7, generator=generator(3, "x", 56))
    assert torch.equal(first, torch.rand(5, generator=generator(3, "x", 57)))
    assert not torch.equal(first, torch.rand(5, generator=generator(3, "x", 58)))


def test_the_global_generator_is_left_alone() -> None:
    """A notebook's own random numbers must not change because the engine drew some."""
    before = torch.get_rng_state()
    torch.rand(5, generator=generator(0, "x"))
    assert torch.equal(before, torch.get_rng_state())
