"""PrivateTable: the only thing a generator holds of the data. It answers looks, each charged before it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any, NoReturn, Protocol, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from accountants import ExponentialMechanism, Gaussian, Meter, SubsampledGaussian
from accountants.exact import floor_float
from dpsynth.domain import Clique, Domain
from dpsynth.errors import KernelError
from dpsynth.kernel.contribution import bound
from dpsynth.kernel.count import MAX_CELLS, exact_counts, noise_scale
from dpsynth.kernel.moments import checked, exact_moments, moment_scales
from dpsynth.kernel.noise import Noise
from dpsynth.kernel.rows import Rows
from dpsynth.kernel.select import chunks, errors, integers, rounded_estimates
from dpsynth.kernel.units import Units
from dpsynth.measurement import MAX_NORM, MAX_SIGMA, Answer, NoisyCounts, NoisyMoments, Score, Selected
from dpsynth.training import KernelLoss

CACHED_CELLS = 2**24
"""Exact counts kept between selections of one view, in cells (128 MiB)."""

T = TypeVar("T")


class _Projectable(Protocol):
    def project(self, clique: Clique) -> NDArray[np.float64]: ...


@dataclass(slots=True)
class _Run:
    """What all views of one opened table share."""

    meter: Meter
    noise: Noise
    at_most: int
    transcript: list[Answer] = field(default_factory=list)
    idealised: bool = False
    trained_on: set[str] = field(default_factory=set)


@final
class PrivateTable:
    """Private rows behind a running reservation's meter.

    It has a public `domain`, answers `count`, `count_all`, `moments` and `select`, trains a module by `train`, and
    gives nothing else away: no length, no iteration, no repr, no pickle. Arguments are checked before the charge and
    depend on public things only.

    **Guarantee.** Each answer is mu-GDP for the event it was charged as, for one unit of at most k rows added or
    removed (docs/proofs), however later questions depend on earlier answers.
    """

    __slots__ = (
        "__cache",
        "__cached",
        "__codes",
        "__domain",
        "__frame",
        "__known",
        "__recoding",
        "__run",
        "__units",
        "__weakref__",
    )

    def __init__(self, rows: Rows, meter: Meter, noise: Noise | None = None, frame: Meter | None = None) -> None:
        source = Noise() if noise is None else noise
        at_most = rows.schema.at_most
        held: tuple[Mapping[str, NDArray[Any]], NDArray[np.int64] | None]
        held = sealed(lambda: _bounded(rows, source.key()))
        self.__codes, self.__units = held
        self.__domain = rows.domain
        self.__run = _Run(meter, source, at_most)
        self.__frame = None if frame is None else _Run(frame, source, at_most)
        self.__recoding: Mapping[str, NDArray[np.int64]] = {}
        self.__cache: dict[Clique, NDArray[np.int64]] = {}
        self.__cached = 0
        self.__known: dict[Clique, tuple[Clique, tuple[int, ...]]] = {}

    @property
    def domain(self) -> Domain:
        """The encoded domain of this view (public)."""
        return self.__domain

    @property
    def for_frame(self) -> PrivateTable:
        """A view of the same bounded rows whose looks are the frame's: charged to its meter, on its own transcript.

        Raises:
            ValueError: the run was reserved without a frame.
        """
        if self.__frame is None:
            raise ValueError("no looks beside the generator's were reserved; plan some, such as an evaluation share")
        view = self.recoded({})
        view.__run = self.__frame
        return view

    @property
    def remaining(self) -> float:
        """mu^2 not yet charged, rounded down (public)."""
        return floor_float(self.__run.meter.remaining)

    @property
    def numerics(self) -> str:
        """How its noise is made: ``exact``, ``idealised`` once a training asked for it, or ``seeded`` in tests."""
        made = self.__run.noise.numerics
        return "idealised" if made == "exact" and self.__run.idealised else made

    @property
    def trained_on(self) -> tuple[str, ...]:
        """The kinds of devices that trainings ran on (public), of ``cpu`` and ``cuda``; none without a training."""
        return tuple(sorted(self.__run.trained_on))

    @property
    def transcript(self) -> tuple[Answer, ...]:
        """Every answer given so far, in order, through any view."""
        return tuple(self.__run.transcript)

    def recoded(self, maps: Mapping[str, NDArray[np.integer[Any]]]) -> PrivateTable:
        """A free view in which attribute ``a``'s code ``c`` reads ``maps[a][c]``: merged cells, coarser bins.

        Raises:
            ValueError: a map that is not one non-negative integer for each code.
            KeyError: an attribute that is not in the domain.
        """
        tables, sizes, recoding = dict[str, NDArray[np.int64]](), self.__domain.sizes, dict(self.__recoding)
        for attribute, given in maps.items():
            (attribute,) = self.__domain.clique([attribute])
            table = np.array(given)  # a copy, before it is checked
            whole = table.shape == (sizes[attribute],) and table.dtype.kind in "iu"
            if not whole or int(table.min()) < 0 or int(table.max()) >= 2**31:
                raise ValueError(
                    f"the map of {attribute!r} must hold {sizes[attribute]} codes of at least 0 and below 2^31, "
                    f"got shape {table.shape} of {table.dtype}"
                )
            table = table.astype(np.int64)
            table.flags.writeable = False
            tables[attribute] = table
            recoding[attribute] = table[recoding[attribute]] if attribute in recoding else table
            sizes[attribute] = int(table.max()) + 1
        view: PrivateTable = object.__new__(PrivateTable)
        view.__codes = sealed(lambda: {a: _recode(codes, tables.get(a)) for a, codes in self.__codes.items()})
        view.__domain = Domain.of(sizes)
        view.__run = self.__run
        view.__frame = self.__frame
        view.__units = self.__units
        view.__recoding = recoding
        view.__cache = {}
        view.__cached = 0
        view.__known = {}
        return view

    def count(self, clique: Clique, noise: Gaussian) -> NoisyCounts:
        """One noisy marginal: exact counts plus rounded Gaussian noise of ``sigma = noise_multiplier * k`` rows.

        Raises:
            UnplannedEvent: the plan does not admit the event; nothing was looked at.
            KeyError, ValueError: the clique is not in the domain, or has too many cells.
        """
        return self.count_all((clique,), noise)[0]

    def count_all(self, cliques: Sequence[Clique], noise: Gaussian) -> tuple[NoisyCounts, ...]:
        """Several marginals in one event: ``sigma = noise_multiplier * k * sqrt(m)`` rows in every cell.

        Raises:
            UnplannedEvent: the plan does not admit the event; nothing was looked at.
            KeyError, ValueError: no clique, one outside the domain or with too many cells, or noise beyond 2^30 rows.
        """
        asked = tuple(self.__checked(clique) for clique in cliques)
        if not asked:
            raise ValueError("count_all needs at least one clique, got none")
        expect(noise, Gaussian)
        sigma = noise_scale(noise, self.__run.at_most, len(asked))
        if sigma > MAX_SIGMA:
            raise ValueError(f"the noise would be {sigma:.3g} rows, allowed is 2^30; plan fewer looks or raise epsilon")
        self.__run.meter.charge(noise)
        answers = sealed(lambda: tuple(self.__noisy(clique, sigma) for clique in asked))
        self.__run.transcript.extend(answers)
        return answers

    def moments(self, scores: Sequence[Score], max_norm: int, noise: Gaussian) -> NoisyMoments:
        """The matrix of second moments of the scores, every row held to a norm of `max_norm` (`kernel/moments.py`).

        The upper triangle gets rounded Gaussian noise of ``noise_multiplier * k * max_norm^2 / sqrt(2)`` off the
        diagonal and ``noise_multiplier * k * max_norm^2`` on it (Dwork, Talwar, Thakurta & Zhang 2014, "Analyze
        Gauss", with the diagonal at the scale at which it costs nothing).

        Raises:
            UnplannedEvent: the plan does not admit the event; nothing was looked at.
            KeyError, ValueError: bad scores or a bad norm, or noise beyond 2^30.
        """
        asked = checked(scores, self.__domain)
        if type(max_norm) is not int or not 1 <= max_norm <= MAX_NORM:
            raise ValueError(f"max_norm must be an integer from 1 to {MAX_NORM}, got {max_norm!r}")
        expect(noise, Gaussian)
        sigma, diagonal = moment_scales(noise, self.__run.at_most, max_norm)
        if diagonal > MAX_SIGMA:
            raise ValueError(f"the noise would be {diagonal:.3g}, allowed is 2^30; lower max_norm or raise epsilon")
        self.__run.meter.charge(noise)

        def look() -> NDArray[np.int64]:
            values = exact_moments(self.__codes, asked, max_norm)
            rows, columns = np.triu_indices(len(asked), 1)
            values[rows, columns] += self.__run.noise.rounded_gaussian(sigma, len(rows))
            values[columns, rows] = values[rows, columns]
            values[np.diag_indices(len(asked))] += self.__run.noise.rounded_gaussian(diagonal, len(asked))
            return values

        values = sealed(look)
        values.flags.writeable = False  # an answer is what the kernel gave
        recoding = {s.attribute: self.__recoding[s.attribute] for s in asked if s.attribute in self.__recoding}
        answer = NoisyMoments(asked, max_norm, values, sigma, diagonal, recoding or None)
        self.__run.transcript.append(answer)
        return answer

    def select(
        self,
        candidates: Sequence[Clique],
        model: _Projectable,
        noise: ExponentialMechanism,
        *,
        weights: Sequence[int] | None = None,
        penalties: Sequence[int] | None = None,
    ) -> Clique:
        """The exponential mechanism on ``weights[i] * ||counts_i - round(model_i)||_1 - penalties[i]``.

        The sensitivity is ``k * max(weights)``. The L1 score is not monotone in the rows, so the factor 2
        stays. The model is projected on every candidate before the charge; after it, no code but the kernel's runs.

        Raises:
            UnplannedEvent: the plan does not admit the event; nothing was looked at.
            KeyError, ValueError: no candidate, one outside the domain or too large, a bad weight, penalty or estimate.
        """
        asked = tuple(self.__checked(clique) for clique in candidates)
        if not asked:
            raise ValueError("select needs at least one candidate, got none")
        expect(noise, ExponentialMechanism)
        weight = integers("weights", weights, len(asked), 1, 1)
        penalty = integers("penalties", penalties, len(asked), 0, None)
        shapes = [self.__known[c][1] for c in asked]
        parts = chunks([prod(shape) for shape in shapes])
        estimates = [rounded_estimates([model.project(c) for c in asked[part]], shapes[part]) for part in parts]
        self.__run.meter.charge(noise)

        def choose() -> int:
            found: list[int] = []
            for part, estimate in zip(parts, estimates, strict=True):
                found += errors([self.__exact(c) for c in asked[part]], estimate)
            scores = [w * error - p for w, error, p in zip(weight, found, penalty, strict=True)]
            return self.__run.noise.choose(scores, noise.eta, self.__run.at_most * max(weight))

        index = sealed(choose)
        self.__run.transcript.append(Selected(asked, index))
        return asked[index]

    def train(
        self,
        module: Any,
        loss: KernelLoss,
        noise: SubsampledGaussian,
        *,
        optimizer: Any,
        max_grad_norm: float,
        expected_batch_size: float,
        public: Callable[[], Any] | None = None,
        numerics: str = "exact",
    ) -> Iterator[None]:
        """DP-SGD: each ``next`` charges one step, samples units, clips each unit's gradient to `max_grad_norm`, adds
        noise of ``noise_multiplier * max_grad_norm``, divides by `expected_batch_size` and steps the optimizer.

        It yields nothing and ends after the last planned step. Between steps the parameters are public and may be
        changed (clipped, averaged, the learning rate set). See `dpsynth/kernel/train.py` for the arguments.

        Raises:
            UnplannedEvent: the plan does not admit the training or the step; nothing was looked at.
            ValueError: a module, loss or figure that cannot be trained with.
            ImportError: PyTorch is missing.
        """
        from dpsynth.kernel.train import Training  # PyTorch, when first used

        expect(noise, SubsampledGaussian)
        training = Training(
            module,
            loss,
            noise,
            self.__domain,
            self.__run.at_most,
            optimizer=optimizer,
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
            public=public,
            numerics=numerics,
        )
        self.__run.idealised |= numerics == "idealised"
        self.__run.trained_on.add(training.gradients.device.type)

        def steps() -> Iterator[None]:
            meter, source, units = self.__run.meter, self.__run.noise, None
            for _ in range(noise.steps):
                training.ready()
                meter.charge_step(noise)
                if units is None:
                    units = sealed(lambda: Units.of(self.__columns(), self.__units))
                gradient = sealed(partial(training.noisy, units, source))
                training.descend(gradient)
                yield

        return steps()

    def __columns(self) -> dict[str, NDArray[Any]]:
        return {attribute: self.__codes[attribute] for attribute in self.__domain.attributes}

    def __checked(self, clique: Clique) -> Clique:
        """The clique in domain order; one object for equal ones, since the transcript keeps every candidate."""
        if type(clique) is tuple and clique in self.__known:
            return self.__known[clique][0]
        checked = self.__domain.clique(clique)
        cells = self.__domain.size(checked)
        if not checked or len(checked) != len(tuple(clique)):
            raise ValueError(f"a clique is one or more different attributes, got {tuple(clique)}")
        if cells > MAX_CELLS:
            raise ValueError(f"the marginal of {checked} has {cells} cells, at most {MAX_CELLS} can be counted")
        return self.__known.setdefault(checked, (checked, self.__domain.shape_of(checked)))[0]

    def __noisy(self, clique: Clique, sigma: float) -> NoisyCounts:
        exact = exact_counts(self.__codes, self.__domain, clique)
        values = exact + self.__run.noise.rounded_gaussian(sigma, exact.size).reshape(exact.shape)
        values.flags.writeable = False
        recoding = {a: self.__recoding[a] for a in clique if a in self.__recoding}
        return NoisyCounts(clique, values, sigma, recoding or None)

    def __exact(self, clique: Clique) -> NDArray[np.int64]:
        kept = self.__cache.get(clique)
        if kept is None:
            kept = exact_counts(self.__codes, self.__domain, clique)
            if self.__cached + kept.size <= CACHED_CELLS:
                self.__cache[clique] = kept
                self.__cached += kept.size
        return kept

    def __repr__(self) -> str:
        return f"PrivateTable({len(self.__domain)} columns)"

    def __reduce_ex__(self, protocol: object = None) -> NoReturn:
        raise TypeError("PrivateTable holds private rows: it cannot be pickled, copied or sent elsewhere")

    __copy__ = __deepcopy__ = __getstate__ = __reduce_ex__


def expect(noise: object, kind: type) -> None:
    """Refuse another event than the look charges.

    Raises:
        ValueError: `noise` is not of that kind.
    """
    if type(noise) is not kind:
        raise ValueError(f"this look is charged as {kind.__name__}, got {type(noise).__name__}")


def _recode(codes: NDArray[Any], table: NDArray[np.int64] | None) -> NDArray[Any]:
    if table is None:
        return codes
    coarser: NDArray[Any] = table[codes].astype(np.min_scalar_type(int(table.max())))
    return coarser


def _bounded(rows: Rows, key: bytes) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64] | None]:
    """The codes, with at most k rows of each unit left, and the unit of each row (None: each row is one)."""
    codes, units, names = rows._open()
    if units is None:
        return codes, None
    keep = bound(units, names, _Content(codes), rows.schema.at_most, key)
    return {attribute: column[keep] for attribute, column in codes.items()}, units[keep]


def sealed(look: Callable[[], T]) -> T:
    """Run what touches rows; an error in it loses its text, its cause and its context, which may quote a row.

    Raises:
        KernelError: `look` raised. It was charged all the same.
    """
    try:
        return look()
    except Exception:  # replaced below, outside this block, so that it is not attached
        pass
    raise KernelError("a look failed inside the kernel; it was charged, and its details are withheld as private")


@dataclass(frozen=True, slots=True)
class _Content:
    """Encoded rows as bytes, shape (asked, 4 * columns): what bounding hashes."""

    codes: Mapping[str, NDArray[Any]]

    def __getitem__(self, rows: NDArray[np.intp], /) -> NDArray[np.uint8]:
        columns = [column[rows].astype("<u4") for column in self.codes.values()]
        return np.ascontiguousarray(np.stack(columns, axis=1)).view(np.uint8)
