"""One step of a classifier's training: forward, back, and the update, with dropout of whole units.

Churchman 2015, sec. 2.1.4: hidden units are randomly selected and omitted, and "these units will
not be updated in the following weight update step". A unit left out for a whole batch has rows and
columns of weights that neither act nor change, so that a step trains a smaller network (Graham et
al. 2015, "Efficient batchwise dropout training using submatrices"). What is left is scaled in
training, by 1 / (share kept), rather than at test time, as is usual now.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from speechscope.errors import SpeechscopeError
from speechscope.networks.layers import Linear, Network, ReLU, bytes_each
from speechscope.training.group import ALONE, Group, compiled, products
from speechscope.training.optimizers import rule_of
from speechscope.work.device import Graphed, fitting, sent

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
    zeros
        Whether units are left out by multiplying with zeros, in whole arrays of weights.

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
        # A GPU multiplies by zeros in less time than it starts the operations that avoid them;
        # AdaGrad alone leaves alone what has a derivative of 0.
        self.zeros = (
            self._device.type != "cpu" and settings.optimizer == "adagrad" and not settings.l2
        )
        self.dense = dense_layers(network)
        self.weights = {
            name: parameter for name, parameter in network.named_parameters() if name not in frozen
        }
        self._in_line()
        shares = dropout_shares(network, settings)
        if shares.get(self.dense[0], 0.0) > 0:
            raise SpeechscopeError("units of the convolutions cannot be left out")
        self.units = [len(network.parameters_of(name)[1]) for name in self.dense]
        self.left = [
            units - round(units * shares.get(after, 0.0))
            for units, after in zip(self.units, self.dense[1:], strict=False)
        ]
        self.kept = [torch.arange(units) for units in self.units[:-1]]
        kind = self._line.dtype
        self._share = cache(lambda items: sent(torch.tensor(1 / items, dtype=kind), self._device))
        self._logits = compiled(self.logits, settings)
        self._each = bytes_each(network, network.input_shape)
        # The processes of a group exchange sums, and a compiler makes graphs of its own.
        alone = group.size == 1 and not settings.compile
        self._graphed = Graphed(self._update) if alone else self._update

    def _in_line(self) -> None:
        """Have all parameters, and their sums, lie in one array: an update is few operations.

        First the weights of the fully connected layers, then their biases, then the others.
        """
        own = [f"{name}.{kind}" for kind in ("weight", "bias") for name in self.dense]
        names = [*own, *(name for name in self.weights if name not in own)]
        sizes = [self.weights[name].numel() for name in names]
        self._line = torch.cat([self.weights[name].detach().flatten() for name in names])
        self._sums = [torch.zeros_like(self._line) for _ in self.rule.sums]
        self.sums: dict[str, list[Tensor]] = {name: [] for name in self.weights}
        for array in (self._line, *self._sums):
            for name, part in zip(names, torch.split(array, sizes), strict=True):
                part = part.view(self.weights[name].shape)
                if array is self._line:
                    self.weights[name].data = part
                else:
                    self.sums[name].append(part)
        self._starts = dict(zip(names, np.cumsum([0, *sizes]).tolist(), strict=False))
        self._others = names[len(own) :]
        start = sum(sizes[: len(own)])
        self._after = torch.arange(start, len(self._line), device=self._device)

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
                self.kept[number] = order

    def logits(
        self,
        x: Tensor,
        weights: Mapping[str, Tensor],
        scales: Sequence[float | Tensor],
    ) -> Tensor:
        """Return the logits (B, classes) of inputs (B, C, F, T).

        Parameters
        ----------
        x
            The inputs.
        weights
            What is in use of the fully connected layers' parameters, by their names.
        scales
            What the outputs of each hidden layer are multiplied by: 1 / (share kept).
        """
        first = self.network.resolve(self.dense[0]) - 1
        h = self.network.activation(x, first).flatten(1)
        for number, name in enumerate(self.dense):
            h = functional.linear(h, weights[f"{name}.weight"], weights[f"{name}.bias"])
            if number < len(scales):
                h = functional.relu(h) * scales[number]
        return h

    def __call__(
        self, take: Take, wanted: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Train on a batch; return its summed loss, and its answers, which `right` counts.

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
        shapes, places, scales = self._used()
        mine = self.group.part(len(wanted))
        given: tuple[Any, ...] = (take(mine), wanted[mine], self._share(len(wanted)), *scales)
        # Of one line of weights as a whole, arrays have the same shapes at every step.
        update = self._graphed if places is None and self.zeros else self._update
        return update(*given, shapes=shapes, places=places)

    def right(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """Return how many answers to some batches are right, of their classes; once an epoch."""
        own = [classes[self.group.part(len(classes))] for classes in wanted]
        return (torch.cat([*found]) == torch.cat(own)).sum()

    def _update(
        self,
        x: Tensor,
        wanted: Tensor,
        share: Tensor,
        *scales: float | Tensor,
        shapes: Mapping[str, tuple[int, ...]],
        places: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Train on inputs, of the parameters at some places of the line; see `_used`."""
        values = self._line if places is None else self._line.index_select(0, places)
        parts = torch.split(values, [*map(prod, shapes.values()), len(self._after)])
        dense = {
            name: part.view(shape).detach().requires_grad_()
            for (name, shape), part in zip(shapes.items(), parts, strict=False)
        }
        others = [self.weights[name] for name in self._others]
        sums, losses, found = [], [], []
        # A batch that a device's memory does not hold is gone through in parts.
        size = max(1, min(len(x), fitting(self.settings.batch, self._each, x.device)))
        for start in range(0, max(len(x), 1), size):
            part, of = x[start : start + size], wanted[start : start + size]
            with products(self.settings, x.device):
                logits = self._logits(part, dense, scales)
                loss = functional.cross_entropy(
                    logits, of, reduction="sum", label_smoothing=self.settings.label_smoothing
                )
                # The derivative of the mean log-loss is wanted, over the whole batch.
                grads = torch.autograd.grad(loss, [*dense.values(), *others], share)
            with torch.no_grad():
                sums.append(torch.cat([grad.flatten() for grad in grads]))
                losses.append(loss.detach())
                found.append(logits.argmax(1))
        with torch.no_grad():
            grad = self.group.add_up(_total(sums))
            if self.settings.l2:
                grad.add_(values, alpha=self.settings.l2)
            arrays = [self._line, *self._sums]
            used = [values, *self._sums]
            if places is not None:
                used[1:] = [whole.index_select(0, places) for whole in self._sums]
            self.rule(values, grad, used[1:], self.count)
            if places is not None:
                for whole, part in zip(arrays, used, strict=True):
                    whole.index_copy_(0, places, part)
        return _total(losses), found[0] if len(found) == 1 else torch.cat(found)

    def _used(
        self,
    ) -> tuple[dict[str, tuple[int, ...]], Tensor | None, Sequence[float | Tensor]]:
        """Return what of the parameters is in use, and what hidden layers are multiplied by.

        Of the fully connected layers' parameters the shapes; of the one line of all the places
        (None: all).
        """
        scales = [units / left for units, left in zip(self.units, self.left, strict=False)]
        kept = [torch.arange(units) for units in self.units[:-1]] if self.zeros else self.kept
        rows = [*kept, torch.arange(self.units[-1])]
        columns = [torch.arange(self.network.parameters_of(self.dense[0])[0].shape[1]), *rows[:-1]]
        shapes: dict[str, tuple[int, ...]] = {
            f"{name}.weight": (len(r), len(c))
            for name, r, c in zip(self.dense, rows, columns, strict=True)
        }
        shapes |= {f"{name}.bias": (len(r),) for name, r in zip(self.dense, rows, strict=True)}
        if sum(map(prod, shapes.values())) == len(self._line) - len(self._after):
            return shapes, None, self._masks(scales) if self.zeros else scales
        # Rows and columns are sent at once.
        sides: list[Tensor] = []
        for name, r, c in zip(self.dense, rows, columns, strict=True):
            width = self.weights[f"{name}.weight"].shape[1]
            sides += [r * width + self._starts[f"{name}.weight"], c]
        sides += [r + self._starts[f"{n}.bias"] for n, r in zip(self.dense, rows, strict=True)]
        there = torch.split(sent(torch.cat(sides), self._device), [len(side) for side in sides])
        count = 2 * len(self.dense)
        inner = [
            (r[:, None] + c).view(-1)
            for r, c in zip(there[:count:2], there[1:count:2], strict=True)
        ]
        return shapes, torch.cat([*inner, *there[count:], self._after]), scales

    def _masks(self, scales: Sequence[float]) -> Sequence[Tensor]:
        """Return what the outputs of hidden layers are multiplied by: 0 where they are left out."""
        masks = [
            torch.zeros(units).index_fill_(0, kept, scale)
            for units, kept, scale in zip(self.units, self.kept, scales, strict=False)
        ]
        return torch.split(sent(torch.cat(masks), self._device), self.units[:-1]) if masks else ()


def _total(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack([*values]).sum(0)


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
