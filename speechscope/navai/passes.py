"""The passes through a network that alignments rest on, each made once."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from speechscope.navai.alignment import needed
from speechscope.relevance.explain import Explained, per_class, predicted
from speechscope.relevance.lrp import lrp
from speechscope.relevance.rules import Settings


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
    rule: Settings
    needed: frozenset[str]

    @staticmethod
    def of_alignments(of: Explained, rule: Settings, alignments: Collection[str]) -> "Passes":
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
            relevance["lrp"] = lrp(self.of, x, target, self.rule)
        return target, relevance
