"""The passes through a network that alignments rest on, each made once."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from speechscope.navai.alignment import needed
from speechscope.networks.graph import Graph, Part
from speechscope.relevance.lrp import lrp
from speechscope.relevance.networks import Explained
from speechscope.relevance.rules import Composite, Rule, composite
from speechscope.relevance.target import per_class, predicted


@dataclass(frozen=True)
class NamedRule:
    """A rule of LRP by its name, which can be sent to other processes; see `rules.composite`.

    Raises
    ------
    UsageProblem
        There is no such rule.
    """

    name: str
    epsilon: float
    gamma: float
    alpha: float

    def __post_init__(self) -> None:
        composite(self.name, epsilon=self.epsilon, gamma=self.gamma, alpha=self.alpha)

    def __call__(self, part: Part) -> Rule:
        """Return the rule of a part of a network."""
        return composite(self.name, epsilon=self.epsilon, gamma=self.gamma, alpha=self.alpha)(part)


@dataclass(frozen=True)
class Passes:
    """One forward pass, one backward pass for the sensitivity, one of LRP; as far as needed.

    Parameters
    ----------
    of
        The network.
    rule
        Of LRP.
    needed
        Names of `relevance`, as in `alignment.needed`.
    """

    of: Explained
    rule: Composite
    needed: frozenset[str]

    @staticmethod
    def of_alignments(of: Explained, rule: Composite, alignments: Collection[str]) -> "Passes":
        """Return the passes that alignments need; a network that LRP cannot treat is refused.

        Raises
        ------
        Untreatable
            See `relevance.lrp`.
        """
        return Passes(of, rule, frozenset(needed(tuple(alignments))))

    def __call__(self, x: Tensor, target: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the classes of inputs (B, C, F, T), (B,), and the relevance for them.

        Parameters
        ----------
        x
            As the network takes them.
        target
            The classes where they are known; None: those predicted.
        """
        relevance: dict[str, Tensor] = {}
        if "gradient" in self.needed or target is None:
            with torch.set_grad_enabled("gradient" in self.needed):
                place = x.detach().requires_grad_("gradient" in self.needed)
                scores = per_class(self.of.scores(place.clone()))
                if target is None:
                    target = predicted(scores.detach())
                if "gradient" in self.needed:
                    # Krug 2018, eq. 1: of the score before softmax (sec. 3.4).
                    chosen = scores.gather(1, target[:, None]).sum()
                    (relevance["gradient"],) = torch.autograd.grad(chosen, place)
        assert target is not None
        if "lrp" in self.needed:
            graph: Graph = self.of.steps()
            relevance["lrp"] = lrp(graph, x, target, self.rule)
        return target, relevance
