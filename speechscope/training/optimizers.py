"""How weights follow their derivatives: AdaGrad, SGD with Nesterov momentum, Adam.

As in `torch.optim`, which imports PyTorch's compiler when an optimizer is made, for 1.3 s. A rule
also works on a part of a parameter with the same part of its sums, so that units left out of a step
(`speechscope.training.step`) need not be touched.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from speechscope.stages.train import Train

EPSILON = 1e-10
"""ε of AdaGrad: far below any √G, it only keeps 0 / 0 away."""


_ANY_STEP = torch.ones(())
"""The number of the step, which only matters where the rate decays."""


class Rule(Protocol):
    """One way to update weights in place."""

    @property
    def lr(self) -> float:
        """The step size η."""

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of the running sums kept for every weight; all begin as 0."""

    def __call__(self, weight: Tensor, grad: Tensor, sums: Sequence[Tensor], step: int) -> None:
        """Update a contiguous `weight` and its `sums`; `grad` may be overwritten.

        `step` counts from 1.
        """


@dataclass(frozen=True)
class AdaGrad:
    """AdaGrad: G ← G + g², w ← w − η g / (√G + ε).

    Source: Churchman 2015, sec. 5.2 (Duchi et al. 2011).
    """

    lr: float
    sums: tuple[str, ...] = ("sum",)

    def __call__(self, weight: Tensor, grad: Tensor, sums: Sequence[Tensor], step: int) -> None:
        """Update `weight` and G in place."""
        if weight.device.type == "cpu":
            # One pass over the three arrays; the plain form makes five.
            torch._fused_adagrad_(
                [weight],
                [grad.contiguous()],  # it takes both in the order they lie in memory
                [sums[0]],
                [_ANY_STEP],
                lr=self.lr,
                lr_decay=0.0,
                weight_decay=0.0,
                eps=EPSILON,
                maximize=False,
            )
            return
        sums[0].addcmul_(grad, grad)
        weight.addcdiv_(grad, sums[0].sqrt().add_(EPSILON), value=-self.lr)


@dataclass(frozen=True)
class Nesterov:
    """Gradient descent with Nesterov momentum: v ← μ v + g, w ← w − η (g + μ v).

    Source: Sutskever et al. 2013, in the form of `torch.optim.SGD`.
    """

    lr: float
    momentum: float
    sums: tuple[str, ...] = ("velocity",)

    def __call__(self, weight: Tensor, grad: Tensor, sums: Sequence[Tensor], step: int) -> None:
        """Update `weight` and v in place."""
        sums[0].mul_(self.momentum).add_(grad)
        weight.add_(grad.add_(sums[0], alpha=self.momentum), alpha=-self.lr)


@dataclass(frozen=True)
class Adam:
    """Adam: m ← β₁ m + (1 − β₁) g, s ← β₂ s + (1 − β₂) g², w ← w − η m̂ / (√ŝ + ε).

    m̂ = m / (1 − β₁ᵗ), ŝ = s / (1 − β₂ᵗ), t the number of the step. Source: Kingma & Ba 2015.
    """

    lr: float
    decay: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    sums: tuple[str, ...] = ("mean", "square")

    def __call__(self, weight: Tensor, grad: Tensor, sums: Sequence[Tensor], step: int) -> None:
        """Update `weight`, m and s in place."""
        mean, square = sums
        first, second = self.decay
        mean.lerp_(grad, 1 - first)
        square.mul_(second).addcmul_(grad, grad, value=1 - second)
        root = square.div(1 - second**step).sqrt_().add_(self.epsilon)
        weight.addcdiv_(mean, root, value=-self.lr / (1 - first**step))


def rule_of(settings: "Train") -> Rule:
    """Return the rule that ``--optimizer`` names: ``adagrad``, ``sgd`` or ``adam``."""
    if settings.optimizer == "sgd":
        return Nesterov(settings.lr, settings.momentum)
    return Adam(settings.lr) if settings.optimizer == "adam" else AdaGrad(settings.lr)


class Optimizer:
    """Parameters that are updated together, each by a rule of its own; they lie in one array.

    Parameters
    ----------
    parameters
        What is updated in place.
    rules
        How, one for each of them.
    """

    def __init__(self, parameters: Iterable[Tensor], rules: Iterable[Rule]) -> None:
        self.parameters, self.rules, self.count = list(parameters), list(rules), 0
        sizes = [weight.numel() for weight in self.parameters]
        self._edges = list(accumulate(sizes, initial=0))
        kept = max((len(rule.sums) for rule in self.rules), default=0)
        with torch.no_grad():
            self._line = torch.cat([weight.flatten() for weight in self.parameters])
        self._sums = [torch.zeros_like(self._line) for _ in range(kept)]
        self._grads: Tensor | None = None
        self.sums: list[list[Tensor]] = [[] for _ in self.parameters]
        for weight, part in zip(self.parameters, torch.split(self._line, sizes), strict=True):
            weight.data = part.view(weight.shape)
        for array in self._sums:
            for place, part in enumerate(torch.split(array, sizes)):
                self.sums[place].append(part.view(self.parameters[place].shape))

    def add(self, objective: Tensor) -> None:
        """Take the derivatives of an objective, or of a part of it."""
        grads = torch.autograd.grad(objective, self.parameters)
        with torch.no_grad():
            whole = torch.cat([grad.flatten() for grad in grads])
            self._grads = whole if self._grads is None else self._grads.add_(whole)

    def step(self) -> None:
        """Follow the derivatives of all that was added since the last step."""
        whole, self._grads = self._grads, None
        assert whole is not None
        self.count += 1
        with torch.no_grad():
            # Neighbours that follow the same rule do so together.
            for rule, places in groupby(range(len(self.rules)), self.rules.__getitem__):
                first, *others = places
                part = slice(self._edges[first], self._edges[(others or [first])[-1] + 1])
                sums = [array[part] for array in self._sums[: len(rule.sums)]]
                rule(self._line[part], whole[part], sums, self.count)

    def state(self) -> list[dict[str, Tensor]]:
        """Return steps and running sums of every parameter, which are those that go on."""
        step = torch.tensor(float(self.count))
        return [
            {"step": step, **dict(zip(rule.sums, sums, strict=True))}
            for rule, sums in zip(self.rules, self.sums, strict=True)
        ]

    def load(self, state: Iterable[Mapping[str, Any]]) -> None:
        """Go back to a state."""
        for rule, sums, saved in zip(self.rules, self.sums, state, strict=True):
            self.count = int(saved["step"])
            for name, values in zip(rule.sums, sums, strict=True):
                values.copy_(saved[name])
