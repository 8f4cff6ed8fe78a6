"""A step of a classifier's training on the CPU: replaces `speechscope.training.step.Step`.

Forward and back are written out, in arrays that are reused: fresh memory for every step costs as
much as the arithmetic of the smaller layers. The products of a small network are too short to be
divided among threads: starting and joining them costs as much as it saves. Whole halves of a batch,
each worked on by a thread of its own, are long; each half then updates the weights of its own
units. The halves are the same however many threads there are, so that results do not depend on it.

Equal to the plain step by ``tests/training/test_step.py``. Gain over it, of the default network
with half the units left out: 1.7 on one thread, 2.2 on two (``benchmarks/epoch.py`` times epochs).
Networks whose convolutions are not over frequency alone gain less than 1.3 and run plain.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from speechscope.fast import dense_loops
from speechscope.fast.frequency_convolutions import FrequencyConvolutions
from speechscope.networks.layers import Network
from speechscope.training.group import ALONE, Group
from speechscope.training.step import Step, Take
from speechscope.work.device import threads

if TYPE_CHECKING:
    from speechscope.stages.train import Train

HALVES = 2


class FastStep(Step):
    """One update of a network on the softmax log-loss; see `Step`.

    Raises
    ------
    Unsupported
        The network is not on the CPU, or has other convolutions.
    """

    def __init__(
        self,
        network: Network,
        settings: "Train",
        frozen: Collection[str] = (),
        group: Group = ALONE,
    ) -> None:
        super().__init__(network, settings, frozen, group)
        batch = -(-settings.batch // group.size)
        self._halves = Halves()
        half = -(-batch // HALVES)
        made = [FrequencyConvolutions(network, half) for _ in range(self._halves.arrays)]
        self._below = made * (HALVES // len(made))
        self._layers: list[DenseLayer] = []
        weight = self.weights[f"{self.dense[0]}.weight"].detach()
        x, by_x = (weight.new_empty(batch, weight.shape[1]) for _ in range(2))
        for number, name in enumerate(self.dense):
            left = self.left[number] if number < len(self.left) else self.units[number]
            layer = DenseLayer(self, name, left, x, by_x, relu=number < len(self.left))
            self._layers.append(layer)
            x, by_x = layer.y, layer.by_y

    def __call__(
        self, take: Take, wanted: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """See `Step`; `take` is called by several threads."""
        self.count += 1
        self.draw(generator)
        columns: Tensor | None = None
        for layer, rows in zip(self._layers, [*self.kept, None], strict=True):
            layer.use(rows, columns)
            columns = rows
        mine = self.group.part(len(wanted))
        parts = self._halves.parts(mine.stop - mine.start)
        layers = self._layers
        losses = layers[0].x.new_zeros(HALVES)
        right = wanted.new_zeros(HALVES)
        grads: list[dict[str, Tensor]] = [{} for _ in parts]

        def gather(half: int) -> None:
            for layer in layers:
                layer.gather(half)

        def learn(half: int) -> None:
            items = parts[half]
            if items.start == items.stop:
                return
            here = slice(mine.start + items.start, mine.start + items.stop)
            below = self._below[half]
            below.forward(take(here), layers[0].x[items])
            for layer in layers:
                logits = layer.forward(items)
            losses[half], right[half] = dense_loops.log_loss(
                logits.numpy(), wanted[here].numpy(), self.settings.label_smoothing
            )
            # The mean log-loss is wanted, over the whole batch.
            layers[-1].by_y[items] = logits.div_(len(wanted))
            for layer in reversed(layers):
                layer.backward(items)
            if len(self.weights) > 2 * len(layers):
                grads[half] = below.backward(layers[0].by_x[items])

        with torch.no_grad():
            self._halves.run(gather)
            self._halves.run(learn)
            self._follow(mine.stop - mine.start, grads)
        return losses.sum(), right

    def right(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """See `Step`: the answers are numbers of right ones."""
        return torch.cat([*found]).sum()

    def _follow(self, count: int, grads: list[dict[str, Tensor]]) -> None:
        """Update all weights from this process's `count` items and those of the others."""
        layers = self._layers
        names = [name for name in self.weights if name.split(".")[0] not in self.dense]
        first, *others = [found for found in grads if found] or [
            {name: torch.zeros_like(self.weights[name]) for name in names}
        ]

        alone = self.group.size == 1

        def differentiate(half: int) -> None:
            for layer in layers:
                layer.differentiate(half, count)
                if alone:
                    layer.update(half)
            for layer in layers[half::HALVES]:  # too little work to share
                torch.sum(layer.by_y[:count], 0, out=layer.by_bias)
            for name in names[half::HALVES]:
                for other in others:
                    first[name] += other[name]
            if alone:
                update_small(half)

        def update(half: int) -> None:
            for layer in layers:
                layer.update(half)
            update_small(half)

        def update_small(half: int) -> None:
            for layer in layers[half::HALVES]:
                layer.update_bias()
            for name in names[half::HALVES]:
                weight, grad = self.weights[name].detach(), first[name]
                if self.settings.l2:
                    grad.add_(weight, alpha=self.settings.l2)
                self.rule(weight, grad, self.sums[name], self.count)

        self._halves.run(differentiate)
        if not alone:
            by_layers = [grad for layer in layers for grad in (layer.by_part, layer.by_bias)]
            self.group.add_all_up([*by_layers, *(first[name] for name in names)])
            self._halves.run(update)


class DenseLayer:
    """A fully connected layer and its ReLU, with some rows and columns of its weights in use.

    Parameters
    ----------
    step
        What the layer is trained by.
    name
        Its name.
    left
        How many of its units are in use.
    x, by_x
        Arrays (batch, columns in use): what the layer before writes, and the derivative by it.

    Attributes
    ----------
    y, by_y
        Arrays (batch, rows in use): what this layer writes, and the derivative by it, which the
        layer after writes.
    by_part, by_bias
        The derivatives by the weights and biases in use.
    """

    def __init__(
        self, step: Step, name: str, left: int, x: Tensor, by_x: Tensor, *, relu: bool
    ) -> None:
        self._step, self._relu, self.x, self.by_x = step, relu, x, by_x
        self._weight, self._bias = (
            step.weights[f"{name}.{k}"].detach() for k in ("weight", "bias")
        )
        self._sums, self._bias_sums = (step.sums[f"{name}.{kind}"] for kind in ("weight", "bias"))
        units, inputs = self._weight.shape
        self._scale, self._thins = units / left, left < units
        self._rows, self._columns = torch.arange(units), torch.arange(inputs)
        self._own = [slice(left * i // HALVES, left * (i + 1) // HALVES) for i in range(HALVES)]
        new = x.new_empty
        self.y, self.by_y = new(len(x), left), new(len(x), left)
        self.by_part, self.by_bias = new(left, x.shape[1]), new(left)
        self._is_part = self._thins or x.shape[1] < inputs
        self._part = new(left, x.shape[1]) if self._is_part else self._weight
        self._part_bias = self._bias
        self._only = torch.zeros(1, dtype=torch.int64)

        # Views of arrays that stay where they are: making one takes as long as a small operation.
        @cache
        def of_items(start: int, stop: int) -> tuple[Tensor, ...]:
            return tuple(array[start:stop] for array in (x, by_x, self.y, self.by_y))

        self._of_items = of_items

    def use(self, rows: Tensor | None, columns: Tensor | None) -> None:
        """Choose the rows in use, and the columns; None: all, as before."""
        if columns is not None:
            self._columns = columns
        if rows is not None and self._thins:
            self._rows, self._part_bias = rows, self._bias[rows]

    def gather(self, half: int) -> None:
        """Copy half of the weights in use to where the products want them."""
        if self._is_part:
            own = self._own[half]
            places = self._rows[own].numpy(), self._columns.numpy()
            dense_loops.take(self._weight.numpy(), *places, self._part[own].numpy())

    def forward(self, items: slice) -> Tensor:
        """Return the units in use of some items, (B, left), valid until the next call."""
        x, _, y, _ = self._of_items(items.start, items.stop)
        torch.mm(x, self._part.t(), out=y)
        dense_loops.answer(y.numpy(), self._part_bias.numpy(), self._scale, self._relu)
        return y

    def backward(self, items: slice) -> None:
        """Write the derivative by x, given that by y, which is overwritten."""
        _, by_x, y, by_y = self._of_items(items.start, items.stop)
        if self._relu:
            dense_loops.silence(by_y.numpy(), y.numpy(), self._scale)
        torch.mm(by_y, self._part, out=by_x)

    def differentiate(self, half: int, count: int) -> None:
        """Write the derivative by half of the weights in use, from `count` items."""
        own = self._own[half]
        torch.mm(self.by_y[:count, own].t(), self.x[:count], out=self.by_part[own])

    def update(self, half: int) -> None:
        """Update half of the weights in use, given the derivative by them."""
        own, step = self._own[half], self._step
        grad, part = self.by_part[own], self._part[own]
        if step.settings.l2:
            grad.add_(part, alpha=step.settings.l2)
        if self._is_part:
            places = self._rows[own], self._columns
            dense_loops.update(step.rule, self._weight, self._sums, *places, grad, step.count)
        else:
            step.rule(part, grad, [whole[own] for whole in self._sums], step.count)

    def update_bias(self) -> None:
        """Update the biases in use, given the derivative by them."""
        step, grad = self._step, self.by_bias
        if step.settings.l2:
            grad.add_(self._part_bias, alpha=step.settings.l2)
        if self._thins:
            bias, *sums = (whole[:, None] for whole in (self._bias, *self._bias_sums))
            places = self._rows, self._only
            dense_loops.update(step.rule, bias, sums, *places, grad[:, None], step.count)
        else:
            step.rule(self._bias, grad, self._bias_sums, step.count)


class Halves:
    """The halves of a batch, and the threads that work on them.

    Attributes
    ----------
    arrays
        How many sets of arrays are needed: one for each half where PyTorch may use several threads
        now; if not, one half follows the other in the same arrays.
    """

    def __init__(self) -> None:
        self.arrays = HALVES if torch.get_num_threads() > 1 else 1
        self._pool: ThreadPoolExecutor | None = None

    def parts(self, items: int) -> list[slice]:
        """Return the part of `items` in each half; the last may be smaller, or empty."""
        size = -(-items // HALVES)
        return [slice(min(i * size, items), min((i + 1) * size, items)) for i in range(HALVES)]

    def run(self, work: Callable[[int], None]) -> None:
        """Call ``work(half)`` for every half, and return when all are done."""
        if self.arrays == 1:
            for half in range(HALVES):
                work(half)
            return
        if self._pool is None:
            # A half's thread does not divide its products further, nor does this one.
            self._pool = ThreadPoolExecutor(
                HALVES - 1, initializer=torch.set_num_threads, initargs=(1,)
            )
        with threads(1):
            others = [self._pool.submit(work, half) for half in range(1, HALVES)]
            try:
                work(0)
            finally:
                # Their arrays are ours: nothing may go on while another writes them.
                errors = [other.exception() for other in others]
            for error in errors:
                if error is not None:
                    raise error
