"""One step of a classifier's training: forward, back, and the update, with dropout of whole units.

Churchman 2015, sec. 2.1.4: hidden units are randomly selected and omitted, and "these units will
not be updated in the following weight update step". A unit left out for a whole batch has rows and
columns of weights that neither act nor change, so that a step trains a smaller network (Graham et
al. 2015, "Efficient batchwise dropout training using submatrices"). What is left is scaled in
training, by 1 / (share kept), rather than at test time, as is usual now.
"""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.errors import SpeechscopeError
from speechscope.networks.layers import Linear, Network, ReLU
from speechscope.training.group import ALONE, Group, compiled, products
from speechscope.training.optimizers import rule_of

if TYPE_CHECKING:
    from speechscope.stages.train import Train

Take = Callable[[slice], Tensor]
"""Gives the inputs (n, C, F, T) of a part of a batch."""


class Step:
    """One update of a network on the softmax log-loss.

    The derivative is that of the mean log-loss over the batch + ½ λ ∥w∥², over the weights in use;
    what is left out is not updated.

    Parameters
    ----------
    network
        The network, on the device to train on; it is trained in place.
    settings
        Optimizer, L2, dropout, label smoothing and the most items of a batch.
    frozen
        Names of parameters that stay as they are.
    group
        The processes that make the step together, each on its part of the batch.

    Attributes
    ----------
    count
        Steps made.
    kept
        The units left in at the last step, of every fully connected layer but the last.
    sums
        The rule's running sums of every parameter, by its name.

    Raises
    ------
    SpeechscopeError
        The network does not end in fully connected layers and ReLUs.
    """

    def __init__(
        self,
        network: Network,
        settings: "Train",
        frozen: Collection[str] = (),
        group: Group = ALONE,
    ) -> None:
        self.network, self.settings, self.group = network, settings, group
        self.rule, self.count = rule_of(settings), 0
        self._device = next(network.parameters()).device
        self.dense = dense_layers(network)
        self.weights = {
            name: parameter for name, parameter in network.named_parameters() if name not in frozen
        }
        self.sums = {
            name: [torch.zeros_like(weight, requires_grad=False) for _ in self.rule.sums]
            for name, weight in self.weights.items()
        }
        shares = dropout_shares(network, settings)
        if shares.get(self.dense[0], 0.0) > 0:
            raise SpeechscopeError("units of the convolutions cannot be left out")
        self.units = [len(network.parameters_of(name)[1]) for name in self.dense]
        self.left = [
            units - round(units * shares.get(after, 0.0))
            for units, after in zip(self.units, self.dense[1:], strict=False)
        ]
        self.kept = [self._all(units) for units in self.units[:-1]]
        self._logits = compiled(self.logits, settings)

    def state(self) -> dict[str, Any]:
        """Return what the next step depends on, but for the weights."""
        sums = {
            kind: {name: parts[index].cpu().clone() for name, parts in self.sums.items()}
            for index, kind in enumerate(self.rule.sums)
        }
        return {"count": self.count, "sums": sums}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self.count = state["count"]
        for index, kind in enumerate(self.rule.sums):
            for name, parts in self.sums.items():
                parts[index].copy_(state["sums"][kind][name])

    def draw(self, generator: torch.Generator) -> None:
        """Choose the units that are left in."""
        for number, left in enumerate(self.left):
            units = self.units[number]
            if left < units:
                order = torch.randperm(units, generator=generator)[:left].sort().values
                self.kept[number] = order.to(self._device)

    def logits(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """Return the logits (B, classes) of inputs (B, C, F, T).

        Parameters
        ----------
        x
            The inputs.
        weights
            The rows and columns in use of the fully connected layers' parameters, by name.
        """
        first = self.network.resolve(self.dense[0]) - 1
        h = self.network.activation(x, first).flatten(1)
        for number, name in enumerate(self.dense):
            h = functional.linear(h, weights[f"{name}.weight"], weights[f"{name}.bias"])
            if number < len(self.left):
                h = functional.relu(h) * (self.units[number] / self.left[number])
        return h

    def __call__(
        self, take: Take, wanted: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Train on a batch; return its mean loss and its number of right answers.

        Parameters
        ----------
        take
            Gives the inputs of a part of the batch.
        wanted
            The classes of the whole batch (B,).
        generator
            Draws the units that are left out; on the CPU, whatever the device.
        """
        self.count += 1
        self.draw(generator)
        used = self._used()
        leaves = {
            name: _taken(weight.detach(), used[name]).requires_grad_() if name in used else weight
            for name, weight in self.weights.items()
        }
        mine = self.group.part(len(wanted))
        with products(self.settings):
            logits = self._logits(take(mine), leaves)
            # The mean log-loss is wanted, over the whole batch.
            loss = functional.cross_entropy(
                logits,
                wanted[mine],
                reduction="sum",
                label_smoothing=self.settings.label_smoothing,
            ) / len(wanted)
            grads = torch.autograd.grad(loss, list(leaves.values()))
        self.group.add_all_up(grads)
        with torch.no_grad():
            for (name, weight), grad in zip(leaves.items(), grads, strict=True):
                if self.settings.l2:
                    grad = grad.add(weight, alpha=self.settings.l2)
                self._update(name, weight, grad, used.get(name))
        return loss.detach(), (logits.argmax(1) == wanted[mine]).sum()

    def _update(self, name: str, weight: Tensor, grad: Tensor, used: Tensor | None) -> None:
        """Update a parameter, or what is in use of it."""
        if used is None:
            self.rule(weight.detach(), grad, self.sums[name], self.count)
            return
        sums = [_taken(whole, used) for whole in self.sums[name]]
        self.rule(weight, grad, sums, self.count)
        for whole, part in zip(
            [self.weights[name], *self.sums[name]], [weight, *sums], strict=True
        ):
            whole.view(-1).index_copy_(0, used.view(-1), part.view(-1))

    def _used(self) -> dict[str, Tensor]:
        """Return the places in use, counted through all rows, of what is not used whole."""
        columns = self._all(self.network.parameters_of(self.dense[0])[0].shape[1])
        used: dict[str, Tensor] = {}
        for name, rows in zip(self.dense, [*self.kept, self._all(self.units[-1])], strict=True):
            weight, bias = (self.weights[f"{name}.{kind}"] for kind in ("weight", "bias"))
            if len(rows) < len(bias):
                used[f"{name}.bias"] = rows
            if len(rows) * len(columns) < weight.numel():
                used[f"{name}.weight"] = rows[:, None] * weight.shape[1] + columns
            columns = rows
        return used

    def _all(self, units: int) -> Tensor:
        return torch.arange(units, device=self._device)


def _taken(whole: Tensor, places: Tensor) -> Tensor:
    """Return what stands at some places, which is several times faster than indexing."""
    return whole.view(-1).index_select(0, places.view(-1)).view(places.shape)


def dense_layers(network: Network) -> list[str]:
    """Return the names of the fully connected layers a network ends in.

    Raises
    ------
    SpeechscopeError
        The end of the network has other rows.
    """
    first = next((i for i, row in enumerate(network.table) if isinstance(row, Linear)), None)
    rows = network.table[first:] if first is not None else ()
    wanted = [Linear if i % 2 == 0 else ReLU for i in range(len(rows))]
    if first is None or len(rows) % 2 == 0 or [type(row) for row in rows] != wanted:
        raise SpeechscopeError("the network does not end in fully connected layers and ReLUs")
    return list(network.names[first::2])


def dropout_shares(network: Network, settings: "Train") -> dict[str, float]:
    """Return the share of the units before each fully connected layer that is left out, by name.

    A network whose paper names rates is trained with them unless ``--dropout`` is given; that holds
    for every layer but the first.
    """
    if "dropout" not in settings.given and any(network.dropout.values()):
        return dict(network.dropout)
    return dict.fromkeys(list(network.dropout)[1:], settings.dropout)
