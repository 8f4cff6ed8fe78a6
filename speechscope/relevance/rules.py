"""The rules of layer-wise relevance propagation, each as what it multiplies contributions by.

A linear layer adds up contributions z_ij = x_i w_ij and a bias. Every rule hands the relevance R_j
of an output down in proportion to them: R_i = Σ_j z_ij f_j, with one factor f_j for the positive
contributions of j and another for the negative ones. A rule is how it finds the two factors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.relevance.graph import Part
from speechscope.relevance.maps import Convolution, LinearMap

KRUG_EPSILON = 1e-21
"""Added to |z_j| (Krug 2018, sec. 3.4)."""


@dataclass(frozen=True)
class Sums:
    """What a linear layer adds up, for every output.

    Parameters
    ----------
    z
        Its output, bias included.
    positive, negative
        Sums of the positive and of the negative contributions, each with a bias of its sign; None
        unless the rule is `signed`.
    output
        What the layer gives on: z, or z after the batch normalisation that follows.
    """

    z: Tensor
    positive: Tensor | None
    negative: Tensor | None
    output: Tensor


class Rule(Protocol):
    """A rule of relevance propagation.

    Attributes
    ----------
    signed
        Whether positive and negative contributions have factors of their own.
    """

    @property
    def signed(self) -> bool:
        """Whether positive and negative contributions have factors of their own."""

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return what positive and negative contributions are multiplied by; None is 0.

        The first is never None, and is the only one of a rule that is not `signed`.
        """


def stabilised(z: Tensor, epsilon: float) -> Tensor:
    """Return z + ε sgn(z), with sgn(0) = 1."""
    return z + torch.where(z < 0, -epsilon, epsilon).to(z.dtype)


@dataclass(frozen=True)
class Epsilon:
    """f_j = R_j / (z_j + ε sgn z_j) (Bach et al. 2015, eq. 58)."""

    epsilon: float
    signed: bool = False

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """See `Rule`."""
        return relevance / stabilised(sums.z, self.epsilon), None


@dataclass(frozen=True)
class AlphaBeta:
    """f⁺_j = α R_j / z⁺_j and f⁻_j = −β R_j / z⁻_j, α − β = 1 (Bach et al. 2015, eq. 60).

    z⁺_j holds the positive contributions and a positive bias, z⁻_j the negative ones and a
    negative bias. α = 1 is the z⁺ rule.

    Raises
    ------
    UsageProblem
        α is below 1.
    """

    alpha: float
    epsilon: float
    signed: bool = True

    def __post_init__(self) -> None:
        if self.alpha < 1:
            raise UsageProblem(f"alpha {self.alpha}: give 1 or more (beta is alpha - 1)")

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """See `Rule`."""
        positive, negative = sums.positive, sums.negative
        assert positive is not None and negative is not None
        up = relevance * self.alpha / stabilised(positive, self.epsilon)
        if self.alpha == 1:
            return up, None
        return up, relevance * (1 - self.alpha) / stabilised(negative, self.epsilon)


@dataclass(frozen=True)
class Gamma:
    """Contributions with the sign of the output count 1 + γ times, the others once.

    Where z_j > 0, f⁺_j = (1 + γ) f_j, f⁻_j = f_j and f_j = R_j / (z_j + γ z⁺_j); where z_j < 0,
    the signs change places. For inputs that are not negative this is Montavon et al. 2019, sec.
    10.2.2; for any inputs, its generalisation by Andéol et al. 2021.
    """

    gamma: float
    epsilon: float
    signed: bool = True

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """See `Rule`."""
        positive, negative = sums.positive, sums.negative
        assert positive is not None and negative is not None
        z, g = sums.z, self.gamma
        zero = torch.zeros_like(z)
        above = torch.where(z > 0, relevance / stabilised(z + g * positive, self.epsilon), zero)
        below = torch.where(z < 0, relevance / stabilised(z + g * negative, self.epsilon), zero)
        return (1 + g) * above + below, above + (1 + g) * below


@dataclass(frozen=True)
class Krug:
    """f_j = R_j sgn(bn(z_j)) / (|z_j| + ε): ratios keep their sign through batch normalisation.

    Source: Krug 2018, sec. 3.4, eq. 3 and 4. Contributions are those of the weights; z_j is what
    the layer gives, its bias included, before batch normalisation.
    """

    epsilon: float = KRUG_EPSILON
    signed: bool = False

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """See `Rule`."""
        return relevance * sums.output.sign() / (sums.z.abs() + self.epsilon), None


def add_up(layer: LinearMap, x: Tensor, signed: bool) -> Sums:
    """Return a linear layer's sums for inputs x."""
    bias = layer.bias_at(x)
    if not signed:
        z = layer.apply(x, layer.weight)
        z = z if bias is None else z + bias
        return Sums(z, None, None, z)
    values = _by_sign(layer, x)
    sums = layer.apply(values, _weights(layer, values, x))
    positive, negative = _parts(layer, sums)
    z = positive + negative
    if bias is not None:
        z = z + bias
        positive, negative = positive + bias.clamp(min=0), negative + bias.clamp(max=0)
    return Sums(z, positive, negative, z)


def hand_down(
    layer: LinearMap, x: Tensor, factors: tuple[Tensor | None, Tensor | None], signed: bool
) -> Tensor:
    """Return R_i = Σ_j z_ij f_j for inputs x, with the factor of each contribution's sign."""
    first, second = factors
    assert first is not None
    if not signed:
        return x * layer.adjoint(first, x, layer.weight)
    values = _by_sign(layer, x)
    if second is None:
        weight = _weights(layer, values, x, both=False)
        relevance = values * layer.adjoint(first, values, weight)
    else:
        weight = _weights(layer, values, x)
        relevance = values * layer.adjoint(_beside(layer, first, second), values, weight)
    if values.shape == x.shape:
        return relevance
    rising, falling = _parts(layer, relevance)
    return rising + falling


def _by_sign(layer: LinearMap, x: Tensor) -> Tensor:
    """Return x, or, where some are negative, its positive beside its negative part as channels."""
    if bool((x >= 0).all()):
        return x
    return _beside(layer, x.clamp(min=0), x.clamp(max=0))


def _weights(layer: LinearMap, values: Tensor, x: Tensor, *, both: bool = True) -> Tensor:
    """Return weights that make of `_by_sign` the sums of contributions of either sign, as maps.

    One product then does what several would: [w⁺; w⁻] of x ≥ 0, and [w⁺ w⁻; w⁻ w⁺] of both parts
    of x; without `both`, the first row.
    """
    assert layer.weight is not None
    up, down = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
    if values.shape != x.shape:
        up, down = torch.cat([up, down], 1), torch.cat([down, up], 1)
    if not both:
        return up
    groups = _groups(layer)
    return torch.stack([up.unflatten(0, (groups, -1)), down.unflatten(0, (groups, -1))], 1).flatten(
        0, 2
    )


def _groups(layer: LinearMap) -> int:
    return layer.groups if isinstance(layer, Convolution) else 1


def _beside(layer: LinearMap, first: Tensor, second: Tensor) -> Tensor:
    """Return two arrays (B, C, …) as channels of one, group by group."""
    groups = _groups(layer)
    if groups == 1:
        return torch.cat([first, second], 1)
    parts = [part.unflatten(1, (groups, -1)) for part in (first, second)]
    return torch.cat(parts, 2).flatten(1, 2)


def _parts(layer: LinearMap, values: Tensor) -> tuple[Tensor, Tensor]:
    """Undo `_beside`."""
    groups = _groups(layer)
    if groups == 1:
        first, second = values.chunk(2, 1)
        return first, second
    first, second = values.unflatten(1, (groups, -1)).chunk(2, 2)
    return first.flatten(1, 2), second.flatten(1, 2)


Composite = Callable[[Part], Rule]
"""The rule for each part of a network."""

RULES = (
    "epsilon",
    "gamma",
    "alpha-beta",
    "zplus",
    "krug",
    "epsilon-plus",
    "epsilon-gamma",
    "epsilon-alpha-beta",
)
"""The last three are composites: ε for fully connected layers, the other rule for convolutions."""


def composite(name: str, *, epsilon: float, gamma: float, alpha: float) -> Composite:
    """Return what rule each part of a network has.

    Averages and batch normalisation that could not be folded always have the ε rule, but under
    Krug's.

    Raises
    ------
    UsageProblem
        There is no such rule.
    """
    plain = Epsilon(epsilon)
    named: dict[str, Rule] = {
        "epsilon": plain,
        "gamma": Gamma(gamma, epsilon),
        "alpha-beta": AlphaBeta(alpha, epsilon),
        "zplus": AlphaBeta(1.0, epsilon),
        "krug": Krug(),
    }
    within = {
        "epsilon-plus": named["zplus"],
        "epsilon-gamma": named["gamma"],
        "epsilon-alpha-beta": named["alpha-beta"],
    }
    if name in within:
        conv = within[name]
        return lambda part: conv if part == "conv" else plain
    if name not in named:
        raise UsageProblem(f"--rule {name}: choose from {', '.join(RULES)}")
    rule = named[name]
    if name == "krug":
        return lambda part: rule
    return lambda part: rule if part in ("conv", "dense") else plain
