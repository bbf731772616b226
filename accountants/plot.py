"""A picture of a guarantee: the trade-off curve of a release, and of its dataset's lifetime, against guessing.

Needs matplotlib: ``pip install 'dpsynth[plot]'``.
"""

from __future__ import annotations

from pathlib import Path

from accountants.composition import NumericalProfile
from accountants.errors import AccountingError
from accountants.profile import Profile

_RATES = sorted({0.0, *(10 ** (k / 8 - 5) for k in range(41)), *(k / 50 for k in range(51))})


def plot(profile: Profile | NumericalProfile, path: Path | str, lifetime: Profile | None = None) -> Path:
    """Draw the best true-positive rate of any test for one unit's presence at each false-positive rate.

    Args:
        profile: of a release.
        path: ending in ``.svg``, ``.png`` or ``.pdf``; an existing file is replaced.
        lifetime: of all releases of the dataset together, at their cap.

    Returns:
        The path.

    Raises:
        AccountingError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise AccountingError("plots need matplotlib; install it with `pip install 'dpsynth[plot]'`") from None
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    linear, log = figure.subplots(1, 2)
    for axes in (linear, log):
        for label, each, style in (("this release", profile, "-"), ("lifetime cap", lifetime, "--")):
            if each is not None:
                axes.plot(_RATES, [1 - each.tradeoff(rate) for rate in _RATES], style, label=label)
        axes.plot(_RATES, _RATES, ":", color="grey", label="guessing")
        axes.set_xlabel("false-positive rate")
    log.set_xscale("log")
    log.set_yscale("log")
    log.set_xlim(1e-5, 1)
    log.set_ylim(1e-5, 1)
    linear.set_ylabel("best true-positive rate of any test\nfor one unit's presence")
    linear.legend()
    target = Path(path)
    try:
        figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)
    except (OSError, ValueError) as error:
        raise AccountingError(f"cannot write the plot {target} ({error}); end its name in .svg, .png or .pdf") from None
    return target


__all__ = ["plot"]
