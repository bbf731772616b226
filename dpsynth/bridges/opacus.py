"""Opacus on the ledger: an accountant for a ``PrivacyEngine``, charged whole before the first step.

>>> from dpsynth.bridges.opacus import LedgerAccountant                                     # doctest: +SKIP
>>> with LedgerAccountant.for_loader(account, loader, budget=Budget(1, 1e-9), epochs=3) as spends:  # doctest: +SKIP
...     model, optimizer, loader = spends.make_private(
...         PrivacyEngine(), module=model, optimizer=optimizer, data_loader=loader, max_grad_norm=1.0
...     )
...     train(model, optimizer, loader, epochs=3)

What the charge rests on is listed in `ASSUMED`, and explained in docs/bridges.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sized
from decimal import Decimal
from functools import lru_cache
from threading import Lock
from types import TracebackType
from typing import Any, NoReturn, Self, final

from accountants import (
    Account,
    Allowance,
    Budget,
    BudgetError,
    Claim,
    FixedPlan,
    Meter,
    Policy,
    PrivacyUnit,
    ReasonCode,
    SubsampledGaussian,
    UnplannedEvent,
    compose,
    declared_delta0,
)
from accountants.crosscheck import epsilon_interval
from accountants.exact import floor_float, real
from accountants.policy import DEFAULT_POLICY

try:
    from opacus import PrivacyEngine
    from opacus.accountants import IAccountant
    from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping, DPPerLayerOptimizer
    from opacus.utils.uniform_sampler import UniformWithReplacementSampler
except ImportError as missing:
    raise ImportError(
        f"dpsynth.bridges.opacus needs Opacus and PyTorch ({missing}): pip install 'dpsynth[opacus]'"
    ) from missing

ASSUMED = (
    "Opacus samples, clips and adds the noise; its floating-point Gaussian noise is taken as ideal",
    "every step is on a fresh Poisson sample of the examples (poisson_sampling=True)",
    "noise and samples come from generators that nobody seeded",
    "the number of examples is public: sampling rate, steps and normaliser are computed from it",
    "no layer mixes examples, and only the stepped parameters leave: losses, metrics and gradients are not covered",
)
"""What Opacus takes for granted, as the ledger records it with every claim."""
_EXAMPLE = "one example is one privacy unit: no unit has two"
_OPTIMIZERS = (DPOptimizer, DPPerLayerOptimizer, DPOptimizerFastGradientClipping)


@final
class LedgerAccountant(IAccountant):  # type: ignore[misc]
    """An Opacus accountant whose steps were charged to an account before the first of them.

    It reserves in the constructor, and starts the run when Opacus attaches it (in ``make_private``). A clean exit from
    its ``with`` block, or `close`, commits a run without a model; an exception forfeits it. Whatever happens after the
    start costs all of the reservation; before it, nothing. One that is simply dropped stays charged: the next session
    records a crash, or ``account.void`` gives back what never started.

    Args:
        account: what is charged. A `gdp` account needs some delta0 set aside for DP-SGD.
        budget: declared (epsilon, delta) of the whole training.
        noise_multiplier: sigma over the clipping norm, as passed to ``make_private``.
        sample_rate: as Opacus computes it: 1 over the number of batches of its own loader (see `for_loader`).
        steps: the most optimizer steps that may be made.
        unit: of the account: the row (default), or a column, where each of its values has one example only.
        policy: rules beyond the account's own.
        purpose, recipient: labels that policy may cap.

    Attributes:
        claim: what was reserved: generator ``opacus``, numerics ``idealised``.
        event: the one planned event.

    **Guarantee.** Under `ASSUMED`, the parameters that leave a training are within the claim's budget: an optimizer
    step with another noise multiplier or sampling rate, or one too many, raises before parameters change.

    Raises:
        GateRefused: the account or a policy does not admit the training. Nothing was charged.
        LedgerBusy: another session runs on the dataset. Nothing was charged.
        BudgetError, EventError: parameters that mean nothing.
    """

    def __init__(
        self,
        account: Account,
        budget: Budget,
        *,
        noise_multiplier: float,
        sample_rate: float,
        steps: int,
        unit: PrivacyUnit | None = None,
        policy: Policy | None = None,
        purpose: str | None = None,
        recipient: str | None = None,
    ) -> None:
        unit = PrivacyUnit() if unit is None else unit
        if unit.at_most != 1:
            raise BudgetError(
                f"Opacus samples and clips examples, so a unit may have one, got at_most {unit.at_most}; make one "
                f"example of each value of {unit.column!r} and declare PrivacyUnit({unit.column!r})"
            )
        self.event = SubsampledGaussian(noise_multiplier, sample_rate, steps)
        plan = FixedPlan([self.event])
        self.claim = Claim(
            budget=budget,
            unit=unit,
            plan=plan,
            generator="opacus",
            schema_digest=None,
            schema_origin="none",
            numerics="idealised",
            size_public=True,
            assumptions=(*ASSUMED, _EXAMPLE),
            purpose=purpose,
            recipient=recipient,
            delta0=declared_delta0(plan, budget),
        )
        self._plan = plan
        self._taken = 0
        self._attached = False
        self._ended = False
        self._meter: Meter | None = None
        self._mutex = Lock()
        self._pid = os.getpid()
        self._reservation = account.reserve(self.claim, DEFAULT_POLICY if policy is None else policy)

    @classmethod
    def for_loader(
        cls,
        account: Account,
        loader: Sized,
        budget: Budget,
        *,
        epochs: int,
        noise_multiplier: float | None = None,
        **options: Any,
    ) -> LedgerAccountant:
        """The accountant for `epochs` passes over what ``make_private`` makes of `loader`.

        Args:
            account, budget: as for the class.
            loader: the ``DataLoader`` that will be passed to ``make_private``; only its length is used.
            epochs: passes; Opacus' Poisson loader makes as many steps in each as it has batches.
            noise_multiplier: default: the least that stays within `budget`, by both accountants.
            options: `unit`, `policy`, `purpose`, `recipient`.

        Raises:
            PlanError: no noise keeps the training within `budget`.
            GateRefused, LedgerBusy, BudgetError, EventError: as for the class.
        """
        # Opacus rounds: of 93 batches its loader makes int(1 / (1/93)) = 92, and then accounts for 1/92.
        batches = len(UniformWithReplacementSampler(num_samples=1, sample_rate=1 / len(loader)))
        rate, steps = 1 / batches, epochs * batches
        if noise_multiplier is None:
            plan = Allowance(budget).calibrate(lambda scale: FixedPlan([SubsampledGaussian(scale, rate, steps)]))
            (event,) = plan.events
            assert isinstance(event, SubsampledGaussian)
            noise_multiplier = event.noise_multiplier
        return cls(account, budget, noise_multiplier=noise_multiplier, sample_rate=rate, steps=steps, **options)

    @property
    def noise_multiplier(self) -> float:
        """As reserved: pass it to ``make_private``."""
        return self.event.noise_multiplier

    @property
    def history(self) -> list[tuple[float, float, int]]:
        """(noise multiplier, sampling rate, steps made), as Opacus' accountants have it. Never set from outside."""
        return [(self.event.noise_multiplier, self.event.sample_rate, self._taken)] if self._taken else []

    def make_private(self, engine: PrivacyEngine, *, data_loader: Any, **arguments: Any) -> Any:
        """``engine.make_private`` with this accountant and the reserved noise, and what can be checked beforehand.

        Args:
            engine: its accountant is replaced by this one.
            data_loader: without a generator of its own.
            arguments: the rest of ``make_private``'s, by name.

        Returns:
            What ``make_private`` returns.

        Raises:
            UnplannedEvent: no Poisson sampling, other noise, or a generator that may be seeded.
            LedgerBusy: another session runs on the dataset. Nothing was charged.
        """
        if not arguments.setdefault("poisson_sampling", True):
            raise UnplannedEvent("the charge is for Poisson samples; leave poisson_sampling at True")
        if arguments.setdefault("noise_multiplier", self.noise_multiplier) != self.noise_multiplier:
            raise UnplannedEvent(
                f"noise multiplier {self.noise_multiplier!r} was reserved, got {arguments['noise_multiplier']!r}; "
                "leave it out"
            )
        if arguments.get("noise_generator") is not None or data_loader.generator is not None:
            raise UnplannedEvent(
                "a generator of your own may be seeded, and then hides nothing; pass neither noise_generator nor a "
                "loader with a generator"
            )
        engine.accountant = self
        return engine.make_private(data_loader=data_loader, **arguments)

    def get_optimizer_hook_fn(self, sample_rate: float) -> Callable[[Any], None]:
        """What Opacus attaches to the optimizer: run after the noise, before the parameters change. Starts the run.

        Raises:
            UnplannedEvent: another sampling rate than reserved, or a second optimizer.
            LedgerBusy: another session runs on the dataset. Nothing was charged.
        """
        if self._attached:
            raise UnplannedEvent(
                "this accountant guards an optimizer already, and two may step on the same sample; reserve another"
            )
        self._check(self.event.noise_multiplier, sample_rate)
        self._start()
        self._attached = True
        admit = super().get_optimizer_hook_fn(sample_rate)

        def hook(optimizer: Any) -> None:
            try:
                _check_optimizer(optimizer)
                admit(optimizer)
            except BaseException:
                optimizer.zero_grad(set_to_none=True)  # the gradients of a step that is not made
                raise

        return hook

    def step(self, *, noise_multiplier: float, sample_rate: float) -> None:
        """Admit one optimizer step.

        Raises:
            UnplannedEvent: not as reserved, one too many, after the end, or in another process.
        """
        with self._mutex:
            self._check(noise_multiplier, sample_rate)
            if self._taken >= self.event.steps:
                raise UnplannedEvent(
                    f"all {self.event.steps} steps that were reserved have been made; end the training here, or "
                    "reserve another for more"
                )
            self._start()
            self._taken += 1

    def get_epsilon(self, delta: float, *_: Any, **__: Any) -> float:
        """Epsilon at `delta` of the whole reservation by both accountants, rounded up, however many steps were made.

        What a training has used so far is no guarantee, since it may be stopped for what it has shown.

        Raises:
            BudgetError: delta out of range, or no epsilon is enough.
        """
        return _epsilon(self._plan, real("delta", delta, BudgetError))

    def __len__(self) -> int:
        """Steps made."""
        return self._taken

    @classmethod
    def mechanism(cls) -> str:
        """A name that Opacus does not know: ``make_private_with_epsilon`` would compute noise that was not reserved."""
        return "dpsynth_ledger (its noise is fixed already: call make_private, or LedgerAccountant.make_private)"

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> NoReturn:
        """Never.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "what was spent is on the ledger and is not loaded from a checkpoint; load the module's and the "
            "optimizer's state by their own load_state_dict, and reserve the further steps"
        )

    def close(self) -> None:
        """End the training well; a run that never started is voided. Calling it again changes nothing.

        Raises:
            LedgerError: the store fails; all of it stays charged.
        """
        if self._ended:
            return
        if self._meter is None:
            self._reservation.forfeit()  # voids what never started
        else:
            self._reservation.commit(None)
        self._ended = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif not self._ended:
            interrupted = issubclass(kind, KeyboardInterrupt)
            self._reservation.forfeit(ReasonCode.INTERRUPTED if interrupted else ReasonCode.FAILED)
            self._ended = True

    def _start(self) -> None:
        if self._meter is None:
            meter = self._reservation.start()
            meter.charge(self.event)
            self._meter = meter

    def _check(self, noise_multiplier: float, sample_rate: float) -> None:
        if os.getpid() != self._pid:
            raise UnplannedEvent("a forked process may not train: step in the process that reserved")
        if self._ended:
            raise UnplannedEvent("this training is over; reserve another")
        if (noise_multiplier, sample_rate) != (self.event.noise_multiplier, self.event.sample_rate):
            raise UnplannedEvent(
                f"noise multiplier {self.event.noise_multiplier!r} and sampling rate {self.event.sample_rate!r} were "
                f"reserved, the step has {noise_multiplier!r} and {sample_rate!r}; train exactly as reserved "
                "(LedgerAccountant.for_loader declares what Opacus will compute)"
            )

    def __repr__(self) -> str:
        return f"LedgerAccountant({self._taken} of {self.event.steps} steps, {self.claim.budget})"

    def __reduce_ex__(self, protocol: object = None) -> NoReturn:
        raise TypeError("an accountant on the ledger is not copied or pickled: each copy would admit every step again")

    __copy__ = __deepcopy__ = __reduce_ex__


def _check_optimizer(optimizer: Any) -> None:
    """Refuse optimizers that do other than the event says: per process, with exact batch sizes, with seeded noise."""
    if type(optimizer) not in _OPTIMIZERS:
        known = ", ".join(each.__name__ for each in _OPTIMIZERS)
        raise UnplannedEvent(
            f"{type(optimizer).__name__} is not covered (distributed training and adaptive clipping are not); "
            f"train with one of {known}"
        )
    if optimizer.generator is not None and not optimizer.secure_mode:
        raise UnplannedEvent("noise from a generator that may be seeded hides nothing; leave noise_generator out")


@lru_cache(maxsize=64)
def _epsilon(plan: FixedPlan, delta: Decimal) -> float:
    first = compose(plan.events).epsilon(delta)
    second = epsilon_interval((plan,), floor_float(delta))
    return first if second is None else max(first, second.high)


__all__ = ["ASSUMED", "LedgerAccountant"]
