"""One round of choosing and measuring: two looks, and how a budget is divided between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from accountants import ExponentialMechanism, Gaussian

SELECT_SHARE = 0.1
"""Share of a round's mu squared for its choice; the count gets the rest."""
_HALF_NORMAL = math.sqrt(2 / math.pi)
"""Expected absolute value of a standard normal."""
_HAIR = 1e-12


@dataclass(frozen=True, slots=True)
class Round:
    """A choice among margins, and the count of the one chosen (as in AIM, McKenna et al. 2022).

    Attributes:
        choice: pays for the choice.
        noise: pays for the count.
    """

    choice: ExponentialMechanism
    noise: Gaussian

    @classmethod
    def of(cls, mu_squared: float, select_share: float = SELECT_SHARE) -> Round:
        """Both together cost `mu_squared` at most, in floats too."""
        rest = (1 - select_share) * mu_squared * (1 - _HAIR)
        return cls(ExponentialMechanism.from_mu_squared(select_share * mu_squared), Gaussian.from_mu_squared(rest))

    @property
    def looks(self) -> list[ExponentialMechanism | Gaussian]:
        """The two looks, in order."""
        return [self.choice, self.noise]

    def of_a_cell(self, at_most: int) -> float:
        """Expected absolute noise of a counted cell, in rows, where a unit contributes `at_most` of them."""
        return _HALF_NORMAL * self.noise.noise_multiplier * at_most


__all__ = ["SELECT_SHARE", "Round"]
