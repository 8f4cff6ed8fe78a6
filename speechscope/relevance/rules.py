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
from speechscope.networks.graph import Part
from speechscope.networks.maps import Convolution, LinearMap

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

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what positive and negative contributions are multiplied by; None is 0.

        The first is never None, and is the only one of a rule that is not `signed`.
        """


def stabilised(z: Tensor, epsilon: float) -> Tensor:
    """Return z + ε sgn(z), with sgn(0) = 1, as a new array."""
    return torch.copysign(z.new_tensor(epsilon), z).add_(z)


@dataclass(frozen=True)
class Epsilon:
    """f_j = R_j / (z_j + ε sgn z_j) (Bach et al. 2015, eq. 58)."""

    epsilon: float
    signed: bool = False

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Rule`."""
        below = stabilised(sums.z, self.epsilon)
        return torch.div(relevance, below, out=below), None


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

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor, Tensor | None]:
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

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor, Tensor | None]:
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

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Rule`."""
        return relevance * sums.output.sign() / (sums.z.abs() + self.epsilon), None


@dataclass(frozen=True)
class Signed:
    """A layer's inputs and weights with what is positive apart from what is negative.

    One product of the two then does what several would. For inputs that are not negative the
    weights are [w⁺; w⁻]; otherwise the positive and the negative part of x stand beside each other
    as channels, and the weights are [w⁺ w⁻; w⁻ w⁺].

    Parameters
    ----------
    values
        The inputs.
    weight
        The weights; the first half of the outputs (of each group) are sums of positive
        contributions, the second half of negative ones.
    both
        Whether the inputs have both signs.
    groups
        Of a grouped convolution, else 1.
    """

    values: Tensor
    weight: Tensor
    both: bool
    groups: int

    @property
    def upper(self) -> Tensor:
        """The weights of the sums of positive contributions alone."""
        halves = self.weight.view(self.groups, 2, -1, *self.weight.shape[1:])
        return halves[:, 0].flatten(0, 1)


def apart(layer: LinearMap, x: Tensor) -> Signed:
    """Return a layer's inputs x and its weights with their signs apart."""
    assert layer.weight is not None
    groups = layer.groups if isinstance(layer, Convolution) else 1
    up, down = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
    both = bool((x < 0).any())
    if both:
        x = _beside(x.clamp(min=0), x.clamp(max=0), groups)
        up, down = torch.cat([up, down], 1), torch.cat([down, up], 1)
    by_group = [part.view(groups, -1, *part.shape[1:]) for part in (up, down)]
    return Signed(x, torch.stack(by_group, 1).flatten(0, 2), both, groups)


def add_up(layer: LinearMap, x: Tensor, signed: Signed | None = None) -> Sums:
    """Return a linear layer's sums for inputs x; of contributions of either sign with `signed`."""
    bias = layer.bias_at(x)
    if signed is None:
        z = layer.apply(x, layer.weight)
        z = z if bias is None else z + bias
        return Sums(z, None, None, z)
    positive, negative = _parts(layer.apply(signed.values, signed.weight), signed.groups)
    z = positive + negative
    if bias is not None:
        z = z + bias
        positive, negative = positive + bias.clamp(min=0), negative + bias.clamp(max=0)
    return Sums(z, positive, negative, z)


def hand_down(
    layer: LinearMap,
    x: Tensor,
    factors: tuple[Tensor, Tensor | None],
    signed: Signed | None = None,
) -> Tensor:
    """Return R_i = Σ_j z_ij f_j for inputs x, with the factor of each contribution's sign."""
    first, second = factors
    if signed is None:
        return x * layer.adjoint(first, x, layer.weight)
    values, groups = signed.values, signed.groups
    if second is None:
        relevance = values * layer.adjoint(first, values, signed.upper)
    else:
        relevance = values * layer.adjoint(_beside(first, second, groups), values, signed.weight)
    if not signed.both:
        return relevance
    rising, falling = _parts(relevance, groups)
    return rising + falling


def _beside(first: Tensor, second: Tensor, groups: int) -> Tensor:
    """Return two arrays (B, C, …) as channels of one, group by group."""
    if groups == 1:
        return torch.cat([first, second], 1)
    count, _, *rest = first.shape
    parts = [part.reshape(count, groups, -1, *rest) for part in (first, second)]
    return torch.cat(parts, 2).flatten(1, 2)


def _parts(values: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Undo `_beside`."""
    if groups == 1:
        first, second = values.chunk(2, 1)
        return first, second
    count, _, *rest = values.shape
    first, second = values.reshape(count, groups, -1, *rest).chunk(2, 2)
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
