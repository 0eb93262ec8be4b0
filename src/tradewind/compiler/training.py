"""Step times of a training by its width, from a few measured ones; and which to measure.

A step computes (a fixed part, and one that grows with the batch of a replica) and synchronises the
gradients (within a node: a latency, and a part that grows with the replicas; between nodes: a
latency, and a part that grows with the rounds of a reduction, log2 of the replicas). The two
overlap: `seconds = (compute^g + sync^g)^(1/g)` with g > 1, as in Pollux (Qiao et al., OSDI 2021).

Five measured points do not determine seven parameters, so each has a prior, wide and the same for
every model: what points leave open stays at what is usual, with a wide interval. What the formula
misses is a smooth deviation on top, alike for configurations that are alike; so a prediction leans
on a measured neighbour, and far from all of them on the formula. Synchronisation repeats less well
than computation, and an outlier among the points is doubted.

Everything is computed in logarithms, so an error is relative and seconds are never negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tradewind.base.errors import Refused
from tradewind.compiler.algebra import Matrix, Vector, dot, forward, lower, solve, spread_over
from tradewind.records.plans import Interval


@dataclass(frozen=True, slots=True, order=True)
class Layout:
    """Replicas spread over nodes, each with so many samples of a step. Where nodes have different
    numbers of replicas, only their sums count."""

    nodes: int
    replicas: int
    batch: float


@dataclass(frozen=True, slots=True)
class Point:
    """A measured step time."""

    layout: Layout
    seconds: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """The step time to expect: the middle, and what 9 of 10 lie between."""

    seconds: float
    low: float
    high: float
    deviation: float
    """One standard deviation of its logarithm."""

    @property
    def interval(self) -> Interval:
        """The middle, and what 9 of 10 stay below."""
        return Interval(p50=self.seconds, p90=self.seconds * math.exp(_NINETY * self.deviation))


# Standard normal quantiles: 9 of 10 below; 9 of 10 within.
_NINETY, _BOTH = 1.2816, 1.6449
# The parameters and their priors, (mean, standard deviation), before anything is known: compute at
# the reference batch; the odds of its fixed part; g - 1; between nodes: latency by compute, growth
# by latency; within a node: latency by that between nodes, growth by latency. Logarithms, all.
PRIORS = (
    (-0.5, 3.0),
    (-1.2, 1.5),
    (0.0, 0.7),
    (0.0, 2.0),
    (math.log(0.2), 1.0),
    (math.log(0.2), 1.0),
    (math.log(0.3), 1.0),
)
# Relative errors: of every measurement, and of synchronisation besides.
REPEAT, NETWORK = 0.04, 0.15
# How far computation and synchronisation deviate from the formula, and over which ratio of batches,
# or of replicas and nodes (natural logarithms), a deviation is alike.
COMPUTE, SYNC = 0.15, 0.2
BATCHES, WIDTHS = 1.0, 0.7
# Degrees of freedom of the errors: outliers are that likely.
TAILS = 4.0
_STEP = 1e-4
_ROUNDS, _DESCENTS = 6, 15
# Candidates that stand for all, where there are more: the choice shall take a second.
REFERENCES = 200


@dataclass(frozen=True, slots=True)
class Model:
    """What the points say: `fit` makes it, `at` asks it."""

    points: tuple[Point, ...]
    reference: float
    parameters: Vector
    _sites: tuple[_Site, ...]
    _noise: Vector
    _pull: Vector
    _lower: Matrix

    def at(self, layout: Layout) -> Forecast:
        """The step time of a configuration, measured or not."""
        site = _site(self.parameters, layout, self.reference)
        middle, variance = site.value, _covariance(site, site)
        if self.points:
            near = [_deviation(site, each) for each in self._sites]
            middle += dot(near, self._pull)
            reach = [_covariance(site, each) for each in self._sites]
            variance -= spread_over(self._lower, reach)
        deviation = math.sqrt(max(variance, 0.0) + _noise(site))
        seconds = math.exp(middle)
        wide = math.exp(_BOTH * deviation)
        return Forecast(seconds, seconds / wide, seconds * wide, deviation)


@dataclass(frozen=True, slots=True)
class _Site:
    """A configuration under given parameters: the logarithm of its step time, the share that
    synchronisation has in it, and how it moves with each parameter."""

    layout: Layout
    value: float
    share: float
    slopes: Vector


def fit(points: Sequence[Point]) -> Model:
    """The model of these points; with none it knows what is usual. Raises Refused for a point that
    cannot be one."""
    for each in points:
        _check(each.layout)
        if not (math.isfinite(each.seconds) and each.seconds > 0):
            raise Refused(f"a step of {each.seconds} s was not measured: it is more than 0")
    batches = {each.layout.batch for each in points} or {1.0}
    reference = math.exp(math.fsum(map(math.log, sorted(batches))) / len(batches))
    return _fitted(tuple(points), reference)


def choose(
    candidates: Sequence[Layout], budget: int = 5, measured: Sequence[Point] = ()
) -> tuple[Layout, ...]:
    """Which `budget` of these to measure next, in this order, so that the others are then known
    best: each is the one that most reduces the mean variance over all candidates.

    All are chosen before the first of them is measured; without `measured` the choice depends on
    nothing but the candidates. With a budget of 1 and what was measured so far, the next one is
    chosen one by one. The order of the candidates does not matter.
    """
    there = sorted(set(candidates))
    for each in there:
        _check(each)
    logs = sorted({math.log(each.batch) for each in there})
    if not logs:
        return ()
    model = _fitted(tuple(measured), math.exp(math.fsum(logs) / len(logs)))
    sites = [_site(model.parameters, each, model.reference) for each in there]
    known = {each.layout for each in measured}
    return tuple(there[index] for index in _chosen(model, sites, budget, known))


def _check(layout: Layout) -> None:
    if not 1 <= layout.nodes <= layout.replicas or not (
        math.isfinite(layout.batch) and layout.batch > 0
    ):
        raise Refused(
            f"{layout.replicas} replicas on {layout.nodes} nodes with {layout.batch} samples each "
            "is no configuration",
            hint="every node has a replica, every replica has samples",
        )


# --- the formula ---------------------------------------------------------------------------------


def _formula(parameters: Sequence[float], layout: Layout, reference: float) -> tuple[float, float]:
    """The logarithm of a step's seconds, and the share of synchronisation in it."""
    at_reference, odds, excess, between, grows, within, crowds = parameters
    fixed = 1.0 / (1.0 + math.exp(-odds))
    compute = at_reference + math.log(fixed + (1.0 - fixed) * layout.batch / reference)
    if layout.replicas == 1:
        return compute, 0.0
    sync = at_reference + between
    if layout.nodes == 1:
        sync += within + math.log1p(math.exp(crowds) * (layout.replicas - 2))
    else:
        sync += math.log1p(math.exp(grows) * (math.log2(layout.replicas) - 1.0))
    g = 1.0 + math.exp(excess)
    # Of two terms the larger is taken out: powers of small numbers vanish.
    difference = g * (sync - compute)
    if difference > 0:
        return sync + math.log1p(math.exp(-difference)) / g, 1.0 / (1.0 + math.exp(-difference))
    part = math.exp(difference)
    return compute + math.log1p(part) / g, part / (1.0 + part)


def _site(parameters: Sequence[float], layout: Layout, reference: float) -> _Site:
    value, share = _formula(parameters, layout, reference)
    slopes = []
    for index in range(len(parameters)):
        moved = [*parameters]
        moved[index] += _STEP
        slopes.append((_formula(moved, layout, reference)[0] - value) / _STEP)
    return _Site(layout, value, share, slopes)


def _noise(site: _Site) -> float:
    """The variance of a measurement there."""
    return REPEAT**2 + (NETWORK * site.share) ** 2


def _deviation(one: _Site, two: _Site) -> float:
    """How much two configurations deviate from the formula together."""
    a, b = one.layout, two.layout
    batches = math.log(a.batch / b.batch) / BATCHES
    widths = math.hypot(math.log(a.replicas / b.replicas), math.log(a.nodes / b.nodes)) / WIDTHS
    compute = COMPUTE**2 * (1 - one.share) * (1 - two.share) * math.exp(-0.5 * batches**2)
    return compute + SYNC**2 * one.share * two.share * math.exp(-0.5 * widths**2)


def _covariance(one: _Site, two: _Site) -> float:
    """Of their step times, before anything is measured."""
    return _deviation(one, two) + math.fsum(
        a * b * deviation**2
        for a, b, (_, deviation) in zip(one.slopes, two.slopes, PRIORS, strict=True)
    )


# --- fitting -------------------------------------------------------------------------------------


def _fitted(points: tuple[Point, ...], reference: float) -> Model:
    """The most likely parameters. In each round the errors' variances are fixed, then the squares
    are least; a point far off has a larger variance in the next."""
    parameters = [mean for mean, _ in PRIORS]
    if not points:
        return Model((), reference, parameters, (), [], [], [])
    told = [math.log(each.seconds) for each in points]
    sites = _sites(parameters, points, reference)
    off = math.fsum(y - site.value for y, site in zip(told, sites, strict=True))
    centre = [*parameters]
    parameters[0] += off / len(points)
    doubts = [1.0] * len(points)
    for _ in range(_ROUNDS):
        sites = _sites(parameters, points, reference)
        noise = [_noise(site) * doubt for site, doubt in zip(sites, doubts, strict=True)]
        together = [[_deviation(a, b) for b in sites] for a in sites]
        weights = lower(_with(together, noise))
        parameters = _descended(parameters, centre, points, told, reference, weights)
        sites = _sites(parameters, points, reference)
        rest = [y - site.value for y, site in zip(told, sites, strict=True)]
        pull = solve(weights, rest)
        doubts = []
        for site, left, row in zip(sites, rest, together, strict=True):
            error = left - dot(row, pull)
            doubts.append(max(1.0, (TAILS + error**2 / _noise(site)) / (TAILS + 1.0)))
    noise = [_noise(site) * doubt for site, doubt in zip(sites, doubts, strict=True)]
    pull = solve(lower(_with([[_deviation(a, b) for b in sites] for a in sites], noise)), rest)
    whole = lower(_with([[_covariance(a, b) for b in sites] for a in sites], noise))
    return Model(points, reference, parameters, tuple(sites), noise, pull, whole)


def _sites(parameters: Vector, points: Sequence[Point], reference: float) -> list[_Site]:
    return [_site(parameters, each.layout, reference) for each in points]


def _with(matrix: Matrix, diagonal: Sequence[float]) -> Matrix:
    return [
        [value + diagonal[i] if i == j else value for j, value in enumerate(row)]
        for i, row in enumerate(matrix)
    ]


def _descended(
    start: Vector,
    centre: Vector,
    points: Sequence[Point],
    told: Vector,
    reference: float,
    weights: Matrix,
) -> Vector:
    """Where the weighted squares, and the distance from the priors, are least: Gauss and Newton,
    damped as Levenberg and Marquardt have it."""

    def loss(parameters: Vector) -> float:
        rest = [
            y - _formula(parameters, each.layout, reference)[0]
            for y, each in zip(told, points, strict=True)
        ]
        apart = math.fsum(
            ((p - c) / deviation) ** 2
            for p, c, (_, deviation) in zip(parameters, centre, PRIORS, strict=True)
        )
        return spread_over(weights, rest) + apart

    here, best, damping = start, loss(start), 1e-2
    for _ in range(_DESCENTS):
        sites = _sites(here, points, reference)
        rest = [y - site.value for y, site in zip(told, sites, strict=True)]
        columns = list(zip(*(site.slopes for site in sites), strict=True))
        whitened = [solve(weights, column) for column in columns]
        slope = [
            dot(column, rest) - (p - c) / deviation**2
            for column, p, c, (_, deviation) in zip(whitened, here, centre, PRIORS, strict=True)
        ]
        bend = [[dot(a, b) for b in columns] for a in whitened]
        bend = _with(bend, [deviation**-2 for _, deviation in PRIORS])
        damped = _with(bend, [damping * row[i] for i, row in enumerate(bend)])
        move = solve(lower(damped), slope)
        there = [p + m for p, m in zip(here, move, strict=True)]
        reached = loss(there)
        if reached >= best:
            damping *= 5.0
            continue
        enough = best - reached < 1e-6
        here, best, damping = there, reached, max(damping / 5.0, 1e-9)
        if enough:
            break
    return here


# --- choosing ------------------------------------------------------------------------------------


def _chosen(model: Model, sites: list[_Site], budget: int, known: set[Layout]) -> list[int]:
    """Indices, greedily. What a measurement tells of the others is taken off their covariance with
    it, which no step time enters."""
    stride = -(-len(sites) // REFERENCES)
    references = sites[::stride]
    told = [_told(model, site) for site in sites]
    toward = [
        [_covariance(site, each) - dot(told[i], told[j * stride]) for j, each in
         enumerate(references)]
        for i, site in enumerate(sites)
    ]  # fmt: skip
    unsure = [
        _covariance(site, site) - dot(row, row) for site, row in zip(sites, told, strict=True)
    ]
    left = [i for i, site in enumerate(sites) if site.layout not in known]
    taken: list[int] = []
    while left and len(taken) < budget:
        gains = {i: dot(toward[i], toward[i]) / (unsure[i] + _noise(sites[i])) for i in left}
        # Equal gains that differ in the last digit shall not decide.
        best = max(left, key=lambda i: (float(f"{gains[i]:.9e}"), -i))
        left.remove(best)
        taken.append(best)
        scale = math.sqrt(unsure[best] + _noise(sites[best]))
        row = told[best]
        reach = [
            (_covariance(sites[best], site) - dot(row, each)) / scale
            for site, each in zip(sites, told, strict=True)
        ]
        for i, part in enumerate(reach):
            told[i].append(part)
            unsure[i] -= part * part
            for j in range(len(references)):
                toward[i][j] -= part * reach[j * stride]
    return taken


def _told(model: Model, site: _Site) -> Vector:
    """What the measured points tell of a configuration: coordinates whose products are to be taken
    off covariances."""
    return forward(model._lower, [_covariance(site, each) for each in model._sites])
