"""The rules of layer-wise relevance propagation, each as what it multiplies contributions by.

A linear layer adds up contributions z_ij = x_i w_ij and a bias. Every rule hands the relevance R_j
of an output down in proportion to them: R_i = Σ_j z_ij f_j, with one factor f_j for the positive
contributions of j and another for the negative ones. A rule is how it finds the two factors.

What ``--rule`` names is registered with `speechscope.registry.RULES`: a function of the settings to
the rules of a network's parts. `speechscope.relevance.lrp` runs them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.networks.graph import Part
from speechscope.registry import RULES

if TYPE_CHECKING:
    from speechscope.stages.navai import Navai
    from speechscope.stages.relevance import Relevance

Settings: TypeAlias = "Relevance | Navai"
"""Have the name of a rule, and the ε, γ and α that rules are made of."""

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
        Sums of the positive and of the negative contributions, each with a bias of its sign; z and
        z unless the rule is `signed`.
    output
        What the layer gives on: z, or z after the batch normalisation that follows.
    """

    z: Tensor
    positive: Tensor
    negative: Tensor
    output: Tensor


class Rule(Protocol):
    """A rule of relevance propagation.

    Attributes
    ----------
    signed
        Whether positive and negative contributions have factors of their own.
    """

    signed: ClassVar[bool]

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what positive and negative contributions are multiplied by; None is 0.

        The first is never None, and is the only one of a rule that is not `signed`.
        """


def stabilised(z: Tensor, epsilon: float) -> Tensor:
    """Return z + ε sgn(z), with sgn(0) = 1, as a new array."""
    return torch.copysign(torch.tensor(epsilon, dtype=z.dtype), z).add_(z)


@dataclass(frozen=True)
class Epsilon:
    """f_j = R_j / (z_j + ε sgn z_j) (Bach et al. 2015, eq. 58)."""

    epsilon: float
    signed: ClassVar[bool] = False

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
    signed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.alpha < 1:
            raise UsageProblem(f"alpha {self.alpha}: give 1 or more (beta is alpha - 1)")

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Rule`."""
        up = relevance * self.alpha / stabilised(sums.positive, self.epsilon)
        if self.alpha == 1:
            return up, None
        return up, relevance * (1 - self.alpha) / stabilised(sums.negative, self.epsilon)


@dataclass(frozen=True)
class Gamma:
    """Contributions with the sign of the output count 1 + γ times, the others once.

    Where z_j > 0, f⁺_j = (1 + γ) f_j, f⁻_j = f_j and f_j = R_j / (z_j + γ z⁺_j); where z_j < 0,
    the signs change places. For inputs that are not negative this is Montavon et al. 2019, sec.
    10.2.2; for any inputs, its generalisation by Andéol et al. 2021.
    """

    gamma: float
    epsilon: float
    signed: ClassVar[bool] = True

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Rule`."""
        z, g = sums.z, self.gamma
        zero = torch.zeros_like(z)
        above = relevance / stabilised(z + g * sums.positive, self.epsilon)
        below = relevance / stabilised(z + g * sums.negative, self.epsilon)
        above, below = torch.where(z > 0, above, zero), torch.where(z < 0, below, zero)
        return (1 + g) * above + below, above + (1 + g) * below


@dataclass(frozen=True)
class Krug:
    """f_j = R_j sgn(bn(z_j)) / (|z_j| + ε): ratios keep their sign through batch normalisation.

    Source: Krug 2018, sec. 3.4, eq. 3 and 4. Contributions are those of the weights; z_j is what
    the layer gives, its bias included, before batch normalisation.
    """

    epsilon: float = KRUG_EPSILON
    signed: ClassVar[bool] = False

    def factors(self, sums: Sums, relevance: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Rule`."""
        return relevance * sums.output.sign() / (sums.z.abs() + self.epsilon), None


@dataclass(frozen=True)
class Composite:
    """The rules of the parts of a network.

    Parameters
    ----------
    conv, dense
        Of convolutions and of fully connected layers.
    other
        Of averages, and of batch normalisation that could not be folded.
    """

    conv: Rule
    dense: Rule
    other: Rule

    def __call__(self, part: Part) -> Rule:
        """Return the rule of a part."""
        return {"conv": self.conv, "dense": self.dense}.get(part, self.other)


def composite(settings: Settings) -> Composite:
    """Return what rule each part of a network has.

    Raises
    ------
    UsageProblem
        There is no such rule.
    """
    made: Composite = RULES[settings.rule](settings)
    return made


@RULES.register("epsilon")
def _epsilon(settings: Settings) -> Composite:
    rule = Epsilon(settings.epsilon)
    return Composite(rule, rule, rule)


@RULES.register("gamma")
def _gamma(settings: Settings) -> Composite:
    rule = Gamma(settings.gamma, settings.epsilon)
    return Composite(rule, rule, Epsilon(settings.epsilon))


@RULES.register("alpha-beta")
def _alpha_beta(settings: Settings) -> Composite:
    rule = AlphaBeta(settings.alpha, settings.epsilon)
    return Composite(rule, rule, Epsilon(settings.epsilon))


@RULES.register("zplus")
def _zplus(settings: Settings) -> Composite:
    rule = AlphaBeta(1.0, settings.epsilon)
    return Composite(rule, rule, Epsilon(settings.epsilon))


@RULES.register("krug")
def _krug(settings: Settings) -> Composite:
    return Composite(Krug(), Krug(), Krug())


# Composites: ε for fully connected layers, another rule for convolutions.


@RULES.register("epsilon-plus")
def _epsilon_plus(settings: Settings) -> Composite:
    return Composite(AlphaBeta(1.0, settings.epsilon), *[Epsilon(settings.epsilon)] * 2)


@RULES.register("epsilon-gamma")
def _epsilon_gamma(settings: Settings) -> Composite:
    return Composite(Gamma(settings.gamma, settings.epsilon), *[Epsilon(settings.epsilon)] * 2)


@RULES.register("epsilon-alpha-beta")
def _epsilon_alpha_beta(settings: Settings) -> Composite:
    return Composite(AlphaBeta(settings.alpha, settings.epsilon), *[Epsilon(settings.epsilon)] * 2)
