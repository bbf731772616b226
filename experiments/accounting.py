"""Epsilon by our two accountants beside other libraries', and how long each takes.

Needs the development environment (prv-accountant, Opacus). `accounting.tsv` beside it is a committed run.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from accountants import ExponentialMechanism, Gaussian, Laplace, RandomizedResponse, SubsampledGaussian, compose
from accountants.crosscheck import epsilon_interval

SETTINGS = {
    "Gaussian, sigma 1": ([Gaussian(1.0)], 1e-5),
    "DP-SGD, MNIST: sigma 1.1, q 256/60000, T 14062": ([SubsampledGaussian(1.1, 256 / 60000, 14062)], 1e-5),
    "the same at delta 1e-9": ([SubsampledGaussian(1.1, 256 / 60000, 14062)], 1e-9),
    "DP-SGD, sigma 1, q .01, T 1000": ([SubsampledGaussian(1.0, 0.01, 1000)], 1e-8),
    "DP-SGD, sigma 5.57, q .01, T 10000": ([SubsampledGaussian(5.5681, 0.01, 10000)], 1e-9),
    "DP-SGD, sigma 3, q .0001, T 1000000": ([SubsampledGaussian(3.0, 1e-4, 10**6)], 1e-8),
    "Laplace, scale 1, 10 times": ([Laplace(1.0)] * 10, 1e-6),
    "randomised response, epsilon .1, 30 times": ([RandomizedResponse(0.1)] * 30, 1e-6),
    "selection, eta .0255, 13 times, and two Gaussians": (
        [ExponentialMechanism(0.0255)] * 13 + [Gaussian(7.0), Gaussian(10.0)],
        1e-9,
    ),
}


def first(events, delta):
    return compose(events).epsilon(delta)


def second(events, delta):
    found = epsilon_interval(tuple(events), delta)
    return f"{found.low:.6g} - {found.high:.6g}"


def dp_accounting(events, delta):
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant()
    for event in events:
        match event:
            case Gaussian(noise_multiplier=z):
                accountant.compose(dp_accounting.GaussianDpEvent(z))
            case Laplace(noise_multiplier=z):
                accountant.compose(dp_accounting.LaplaceDpEvent(z))
            case SubsampledGaussian(noise_multiplier=z, sample_rate=q, steps=steps):
                accountant.compose(dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(z)), steps)
            case _:
                return None
    return accountant.get_epsilon(delta)


def prv(events, delta):
    from prv_accountant import GaussianMechanism, PoissonSubsampledGaussianMechanism, PRVAccountant

    (event,) = events if len(events) == 1 else (None,)
    match event:
        case Gaussian(noise_multiplier=z):
            made, steps = GaussianMechanism(z), 1
        case SubsampledGaussian(noise_multiplier=z, sample_rate=q, steps=steps):
            made = PoissonSubsampledGaussianMechanism(noise_multiplier=z, sampling_probability=q)
        case _:
            return None
    accountant = PRVAccountant([made], max_self_compositions=[steps], eps_error=0.01, delta_error=delta / 1000)
    low, estimate, high = accountant.compute_epsilon(delta, [steps])
    return f"{low:.4g} / {estimate:.5g} / {high:.4g}"


def opacus(name: str) -> Callable:
    def run(events, delta):
        from opacus.accountants import create_accountant

        (event,) = events if len(events) == 1 else (None,)
        if not isinstance(event, SubsampledGaussian):
            return None
        accountant = create_accountant(name)
        accountant.history = [(event.noise_multiplier, event.sample_rate, event.steps)]
        return accountant.get_epsilon(delta)

    return run


ACCOUNTANTS = {
    "ours (certified)": first,
    "our second accountant": second,
    "dp-accounting PLD": dp_accounting,
    "prv-accountant, error .01": prv,
    "Opacus PRV": opacus("prv"),
    "Opacus RDP": opacus("rdp"),
    "Opacus GDP (central limit: not a bound)": opacus("gdp"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "accounting.tsv")
    out = parser.parse_args().out
    warnings.simplefilter("ignore")
    first([SubsampledGaussian(1.0, 0.5, 1)], 1e-5)  # imports are not timed
    lines = ["setting\tdelta\taccountant\tepsilon\tseconds"]
    for setting, (events, delta) in SETTINGS.items():
        for name, run in ACCOUNTANTS.items():
            start = time.perf_counter()
            try:
                epsilon = run(events, delta)
            except (ValueError, RuntimeError, MemoryError) as error:
                epsilon = f"fails: {type(error).__name__}"
            if epsilon is None:
                continue
            shown = epsilon if isinstance(epsilon, str) else f"{epsilon:.6g}"
            lines.append(f"{setting}\t{delta:g}\t{name}\t{shown}\t{time.perf_counter() - start:.2f}")
            print(lines[-1], flush=True)
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
