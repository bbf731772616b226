"""What the budget bought: one line for each look, with its share of the release's mu^2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from accountants import Claim, Event, ExponentialMechanism
from accountants.certificate import charged_events
from dpsynth.domain import Clique
from dpsynth.measurement import NoisyCounts, NoisyMoments, Selected
from dpsynth.release.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Look:
    """One look.

    Attributes:
        clique: the columns counted, or chosen.
        share: of the release's mu^2 at capacity, 0 to 1; None where it cannot be told apart.
        sigma: noise of each cell in rows; None for a choice.
        cells: noisy cells that came of it; for a choice, the cliques on offer.
        unseen: whether it checks the model, which was fitted without it.
        joint: whether these are second moments of all the columns, two by two, and no counts.
    """

    clique: Clique
    share: float | None
    sigma: float | None
    cells: int
    unseen: bool = False
    joint: bool = False

    @property
    def measured(self) -> bool:
        """Counts, not a choice."""
        return self.sigma is not None


@dataclass(frozen=True, slots=True)
class Spending:
    """All looks, and what they add up to.

    Attributes:
        looks: in the order in which they were asked.
        totals, ones, more, moments, choices, checks, unused: shares of mu^2 by kind: counts of all rows, of single
            columns, of several columns together, second moments, choices of what to count, counts that check the model,
            and what was charged but not used.
    """

    looks: tuple[Look, ...]
    totals: float
    ones: float
    more: float
    moments: float
    choices: float
    checks: float
    unused: float


def spending(
    claim: Claim,
    charged: Mapping[str, Sequence[Mapping[str, Any]]],
    transcript: Transcript,
    evaluation: Transcript = (),
) -> Spending:
    """Match the answers with what they cost.

    A marginal with noise sigma costs ``(k/sigma)^2`` alone or stacked with others, so counts need no matching;
    choices take the charged selections in order.
    """
    capacity, k = float(claim.capacity), claim.unit.at_most
    ran = (*charged_events(charged.get("plan", ())), *charged_events(charged.get("frame", ())))
    choices = [_mu_squared(event) for event in ran if isinstance(event, ExponentialMechanism)]
    known = len(choices) == sum(isinstance(answer, Selected) for answer in transcript)
    prices = iter(choices if known else ())
    looks = []
    for answer in transcript:
        match answer:
            case NoisyCounts():
                share = (k / answer.sigma) ** 2 / capacity
                looks.append(Look(answer.clique, share, answer.sigma, prod(answer.values.shape)))
            case NoisyMoments():
                share = (k * answer.max_norm**2 / answer.sigma_diagonal) ** 2 / capacity
                together = tuple(dict.fromkeys(score.attribute for score in answer.scores))
                entries = len(answer.scores) * (len(answer.scores) + 1) // 2
                looks.append(Look(together, share, None, entries, joint=True))
            case Selected():
                price = next(prices, None)
                share_of = None if price is None else price / capacity
                looks.append(Look(answer.clique, share_of, None, len(answer.candidates)))
    for answer in evaluation:
        if isinstance(answer, NoisyCounts):
            share = (k / answer.sigma) ** 2 / capacity
            looks.append(Look(answer.clique, share, answer.sigma, prod(answer.values.shape), unseen=True))
    fitted = [look for look in looks if not look.unseen]
    spent = sum(_mu_squared(event) for event in ran) / capacity
    return Spending(
        tuple(looks),
        totals=_sum(look for look in fitted if look.measured and not look.clique),
        ones=_sum(look for look in fitted if look.measured and len(look.clique) == 1),
        more=_sum(look for look in fitted if look.measured and len(look.clique) > 1),
        moments=_sum(look for look in fitted if look.joint),
        choices=sum(choices) / capacity,
        checks=_sum(look for look in looks if look.unseen),
        unused=max(0.0, 1.0 - spent),
    )


def _mu_squared(event: Event) -> float:
    return float(event.mu_squared)


def _sum(looks: Any) -> float:
    return float(sum(look.share or 0.0 for look in looks))


__all__ = ["Look", "Spending", "spending"]
