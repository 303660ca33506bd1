"""Rules by which networks that choose stop before their last epoch, each under a name and a version.

A network that has learned its clips goes on for many epochs in which nothing much changes. Where it only says which of
several sets is better, that time may be saved. A network that is reported never stops: an accuracy belongs to its whole
recipe, and tables of stopped and of whole networks could not be compared. So a rule is part of a ``Recipe`` and of its
fingerprint, only networks of the purpose ``selection`` get one (``Judge.recipe``), and ``vdsd``, which reports the
networks that choose, has none (the preset refuses it).
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class StoppingRule:
    """A rule that ends a training after the first epoch whose mean loss is small beside that of a guess."""

    name: str
    version: int
    share: float
    """The largest mean training loss of the last epoch, as a fraction of the loss of the best constant answer."""

    def ends(self, loss: float, guess: float) -> bool:
        """Return whether training ends after an epoch of this mean ``loss``; one that is not finite never ends it."""
        return loss <= self.share * guess

    def record(self) -> str:
        """Return the rule as a recipe's record has it."""
        return f"{self.name} {self.version}: loss at most {self.share:g} of a guess"


STOPS = {rule.name: rule for rule in (StoppingRule("learned", 1, share=0.02),)}
"""The rules that a preset can name (``evaluation.selection_stop``); ``none`` is the lack of one."""
