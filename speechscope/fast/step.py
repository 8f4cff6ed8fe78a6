"""One step of training: forward, back, and the update."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from speechscope.fast import units
from speechscope.fast.lanes import LANES, Lanes
from speechscope.fast.thinning import ThinnedLayers
from speechscope.fast.trunk import Trunk
from speechscope.networks.layers import Network
from speechscope.training.acceleration import PLAIN, Acceleration
from speechscope.training.group import ALONE, Group
from speechscope.training.optimizers import Rule
from speechscope.work.accelerators import Unsupported

Take = Callable[[slice], Tensor]
"""Gives the inputs (n, C, F, T) of a part of a batch."""


class Below(Protocol):
    """Everything before the first fully connected layer."""

    def forward(self, x: Tensor, out: Tensor) -> None:
        """Write the units (B, units) of inputs (B, C, F, T) to `out`."""

    def backward(self, grad: Tensor) -> dict[str, Tensor]:
        """Return the derivatives by the parameters, given that by the units of `forward`."""


class Step:
    """One update of a network on the softmax log-loss, with dropout of whole units.

    The derivative is that of the mean log-loss over the batch + ½ λ ∥w∥², over the weights in
    use; units that are left out are not updated (Churchman 2015, sec. 2.1.4).

    Parameters
    ----------
    network
        The network, on the device to train on; it is trained in place.
    rule
        How weights follow their derivatives.
    l2
        λ.
    dropout
        Share of the units before every fully connected layer but the first that is left out, or
        that of each layer's inputs by its name.
    batch
        The most items a step is given.
    smoothing
        Share of the wanted probability spread evenly over all classes (Szegedy et al. 2016).
    frozen
        Names of parameters of the convolutions that stay as they are.
    group
        The processes that make the step together, each on its part of the batch.
    acceleration
        What the device may do to be faster.

    Attributes
    ----------
    count
        Steps made.
    sums
        The rule's running sums of every parameter, by its name.
    """

    def __init__(
        self,
        network: Network,
        rule: Rule,
        *,
        l2: float,
        dropout: float | Mapping[str, float],
        batch: int,
        smoothing: float = 0.0,
        frozen: Collection[str] = (),
        group: Group = ALONE,
        acceleration: Acceleration = PLAIN,
    ) -> None:
        on_cpu = next(network.parameters()).device.type == "cpu"
        self._lanes = Lanes(LANES if on_cpu else 1)
        self._rule, self._l2, self._smoothing = rule, l2, smoothing
        self._group, self._acceleration = group, acceleration
        batch = -(-batch // group.size)
        if not isinstance(dropout, Mapping):
            dropout = dict.fromkeys(list(network.dropout)[1:], dropout)
        count = self._lanes.count
        self._layers = ThinnedLayers(network, dropout, batch, rule, l2=l2, lanes=count)
        sets = count if self._lanes.together else 1
        last_row, share = self._layers.last_row, -(-batch // count)
        made = [below(network, last_row, share, acceleration) for _ in range(sets)]
        self._below = made * (count // sets)
        self._convolutions = {
            name: parameter.detach()
            for name, parameter in network.named_parameters()
            if name not in self._layers.sums and name not in frozen
        }
        self.count = 0
        self.sums = {
            **{
                name: [torch.zeros_like(weight) for _ in rule.sums]
                for name, weight in self._convolutions.items()
            },
            **self._layers.sums,
        }

    @property
    def kept(self) -> list[Tensor]:
        """The units left in at the last step, of every fully connected layer but the last."""
        return self._layers.kept

    def state(self) -> dict[str, object]:
        """Return what the next step depends on, but for the weights."""
        sums = {
            kind: {name: parts[index].cpu().clone() for name, parts in self.sums.items()}
            for index, kind in enumerate(self._rule.sums)
        }
        return {"count": self.count, "sums": sums}

    def load(self, state: Mapping[str, object]) -> None:
        """Go back to a state."""
        count, sums = state["count"], state["sums"]
        assert isinstance(count, int) and isinstance(sums, dict)
        self.count = count
        for index, kind in enumerate(self._rule.sums):
            for name, parts in self.sums.items():
                parts[index].copy_(sums[kind][name])

    def __call__(
        self, take: Take, wanted: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Train on a batch; return its mean loss and its number of right answers.

        Parameters
        ----------
        take
            Gives the inputs of a part of the batch; called by several threads.
        wanted
            The classes of the whole batch (B,).
        generator
            Draws the units that are left out; on the CPU, whatever the device.
        """
        self.count += 1
        mine = self._group.part(len(wanted))
        count = mine.stop - mine.start
        parts = self._lanes.parts(count)
        self._layers.draw(generator)
        self._lanes.run(self._layers.gather)
        lanes = range(self._lanes.count)
        losses = self._layers.units.new_zeros(len(lanes))
        right = wanted.new_zeros(len(lanes))
        grads: list[dict[str, Tensor]] = [{} for _ in lanes]

        def learn(lane: int) -> None:
            items = parts[lane]
            if items.start == items.stop:
                return
            here = slice(mine.start + items.start, mine.start + items.stop)
            below = self._below[lane]
            below.forward(take(here), self._layers.units[items])
            logits = self._layers.forward(items)
            losses[lane], right[lane] = units.log_loss(logits, wanted[here], self._smoothing)
            # The mean log-loss is wanted, over the whole batch.
            grad = self._layers.backward(logits.div_(len(wanted)), items)
            if self._convolutions:
                grads[lane] = below.backward(grad)

        with torch.no_grad(), self._acceleration.products():
            self._lanes.run(learn)
            self._update(count, grads)
        return losses.sum() / len(wanted), right.sum()

    def _update(self, count: int, grads: list[dict[str, Tensor]]) -> None:
        """Update all weights from this process's `count` items and those of the others."""
        first, *others = [found for found in grads if found] or [
            {name: torch.zeros_like(weight) for name, weight in self._convolutions.items()}
        ]
        layers, names = self._layers, list(self._convolutions)
        parts: list[tuple[Tensor, Tensor]] = []
        if self._group.size > 1:
            # One exchange for all derivatives: each has a cost of its own.
            whole, parts = layers.gradients()
            self._lanes.run(lambda lane: layers.gather_gradients(lane, count, parts))
            mine = [sum((other[name] for other in others), start=first[name]) for name in names]
            flat = torch.cat([whole, *(grad.flatten() for grad in mine)])
            self._group.add_up(flat)
            found, *rest = torch.split(flat, [len(whole), *(grad.numel() for grad in mine)])
            whole.copy_(found)
            first, others = {n: g.view_as(first[n]) for n, g in zip(names, rest, strict=True)}, []

        def follow(lane: int) -> None:
            if parts:
                layers.apply(lane, parts, self.count)
            else:
                layers.update(lane, count, self.count)
            for name in names[lane :: self._lanes.count]:  # too little work to share
                weight, grad = self._convolutions[name], first[name]
                for other in others:
                    grad += other[name]
                if self._l2:
                    grad.add_(weight, alpha=self._l2)
                self._rule(weight, grad, self.sums[name], self.count)

        self._lanes.run(follow)


class Automatic:
    """The rows before the fully connected layers by automatic derivatives, for any network."""

    def __init__(self, network: Network, last_row: int, acceleration: Acceleration = PLAIN) -> None:
        self._activation = acceleration.compile(partial(network.activation, layer=last_row))
        self._parameters = {
            f"{name}.{kind}": parameter
            for name in network.names[:last_row]
            if name.startswith("conv")
            for kind, parameter in zip(("weight", "bias"), network.parameters_of(name), strict=True)
        }
        self._units = torch.empty(0)

    def forward(self, x: Tensor, out: Tensor) -> None:
        """Write the units (B, units) of inputs (B, C, F, T) to `out`."""
        with torch.enable_grad():
            self._units = self._activation(x).flatten(1)
        out.copy_(self._units.detach())

    def backward(self, grad: Tensor) -> dict[str, Tensor]:
        """Return the derivatives by the parameters, given that by the units of `forward`."""
        found = torch.autograd.grad(self._units, list(self._parameters.values()), grad)
        self._units = torch.empty(0)
        return dict(zip(self._parameters, found, strict=True))


def below(network: Network, last_row: int, batch: int, acceleration: Acceleration) -> Below:
    """Return the fastest form of the rows before the fully connected layers."""
    try:
        return Trunk(network, batch)
    except Unsupported:
        return Automatic(network, last_row, acceleration)
