"""Training decoders: stage by stage from the middle outwards, then all stages together.

Churchman 2015, sec. 6.5.5: trained at once from random weights, a decoder is drawn towards
mapping everything to silence. Each stage is therefore first trained to restore the input of its
encoder layer, from what the stages before it give; then all stages are fine-tuned on the
spectrogram. The encoder never changes (sec. 6.5.4).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechscope.networks.decoders import Decoder, Init
from speechscope.networks.layers import Network
from speechscope.training.resampling import resample
from speechscope.training.source import Items

TOGETHER = -1
"""The stage number under which the history lists the fine-tuning of all stages."""


@dataclass(frozen=True)
class DecoderSettings:
    """Settings of decoder training.

    Parameters
    ----------
    epochs
        Of each stage by itself.
    together
        Epochs of all stages together.
    per_class, test_per_class
        Items a class and epoch, resampled as for classifiers (Churchman 2015, sec. 3.3).
    batch
        Items a batch.
    lr
        Master step size of AdaGrad (sec. 5.2) for each stage by itself, as a share of the root
        mean square of the stage's first weights.
    lr_together
        The same for all stages together.
    init
        First weights of every stage, then scaled so that its first output is as large as its
        target.
    seed
        For the samples and random weights.
    """

    epochs: int = 3
    together: int = 6
    per_class: int = 50
    test_per_class: int = 20
    batch: int = 128
    lr: float = 0.1
    lr_together: float = 0.02
    init: Init = "transpose"
    seed: int = 0


@dataclass(frozen=True)
class Record:
    """One epoch of one decoder.

    `train` and `test` are mean Euclidean distances to the target, ‖X* − X′‖ (sec. 6.2): of the
    batches as they were trained on, and after the epoch. `silence` is the test target's mean
    distance to zeros; a test error near it means that the decoder maps everything to silence.
    `stage` counts from the layer outwards, `TOGETHER` for all; `target` is the layer restored.
    """

    layer: int
    stage: int
    epoch: int
    target: int
    train: float
    test: float
    silence: float


@dataclass(frozen=True)
class TrainedDecoders:
    """Decoders by layer number, how their training went, and the state to go on from."""

    decoders: dict[int, Decoder]
    history: tuple[Record, ...]
    state: dict[str, Any]


def scores(history: Sequence[Record]) -> list[dict[str, int | float]]:
    """Return one row a layer: the mean Euclidean distances after its last epoch.

    `silence` is the distance of the zero spectrogram, which a decoder has to stay below.
    """
    last = {record.layer: record for record in history if record.target == 0}
    return [
        {"layer": layer, "train": found.train, "test": found.test, "silence": found.silence}
        for layer, found in sorted(last.items())
    ]


def train_decoders(
    network: Network,
    source: Items,
    layers: Sequence[int | str],
    settings: DecoderSettings,
    *,
    state: Mapping[str, Any] | None = None,
    on_stage: Callable[[dict[str, Any]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainedDecoders:
    """Train one decoder for each layer, all on the same batches.

    The objective is ½ ‖X* − X′‖², averaged over a batch's items (Churchman 2015, sec. 6.5.3), with
    AdaGrad. The encoder's activations are computed once a batch for all decoders.

    Parameters
    ----------
    network
        The encoder.
    source
        Where inputs come from: its "train" split is trained on, its "test" split measured.
    layers
        Layers by number or name.
    settings
        How to train.
    state
        What `on_stage` was last given, to go on from there; the result is the same as without
        the interruption.
    on_stage
        Called after every epoch with the state: tensors and plain types.
    progress
        Called with (epochs done, epochs in all).
    """
    run = _Run(network, source, [network.resolve(layer) for layer in layers], settings)
    if state is not None:
        run.load(state)
    schedule = run.schedule()
    for done in range(run.done, len(schedule)):
        run.epoch(*schedule[done])
        run.done = done + 1
        if on_stage is not None:
            on_stage(run.state())
        if progress is not None:
            progress(run.done, len(schedule))
    return TrainedDecoders(run.decoders, tuple(run.history), run.state())


class _Run:
    """Decoder training between two epochs."""

    def __init__(
        self, network: Network, source: Items, layers: list[int], settings: DecoderSettings
    ) -> None:
        self.network, self.source, self.settings = network.eval(), source, settings
        generator = torch.Generator().manual_seed(settings.seed)
        device = next(network.parameters()).device
        self.decoders = {
            layer: Decoder(network, layer, settings.init, generator).to(device)
            for layer in dict.fromkeys(layers)
        }
        self.optimizers: dict[int, torch.optim.Optimizer] = {}
        self.history: list[Record] = []
        self.done = 0

    def schedule(self) -> list[tuple[int, int]]:
        """Return (stage, epoch) of every epoch in order."""
        stages = max((len(d.stages) for d in self.decoders.values()), default=0)
        alone = [(s, e) for s in range(stages) for e in range(self.settings.epochs)]
        return alone + [(TOGETHER, e) for e in range(self.settings.together)]

    def state(self) -> dict[str, Any]:
        """Return everything the rest of the training depends on."""
        return {
            "done": self.done,
            "decoders": {layer: d.state_dict() for layer, d in self.decoders.items()},
            "optimizers": {layer: o.state_dict() for layer, o in self.optimizers.items()},
            "history": [asdict(record) for record in self.history],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self.done = state["done"]
        self.history = [Record(**record) for record in state["history"]]
        for layer, weights in state["decoders"].items():
            self.decoders[layer].load_state_dict(weights)
        if self.done:
            stage, _ = self.schedule()[self.done - 1]
            self._begin(stage)
            for layer, optimizer in state["optimizers"].items():
                self.optimizers[layer].load_state_dict(optimizer)

    def _begin(self, stage: int) -> None:
        """Make the optimizers of a stage."""
        rate = self.settings.lr_together if stage == TOGETHER else self.settings.lr
        self.optimizers = {}
        for layer, decoder in self.decoders.items():
            if stage < len(decoder.stages):
                chosen = range(len(decoder.stages)) if stage == TOGETHER else [stage]
                groups = [
                    {"params": list(part.parameters()), "lr": rate * part.size()}
                    for part in map(decoder.stage, chosen)
                ]
                self.optimizers[layer] = torch.optim.Adagrad(groups)

    def _target(self, layer: int, stage: int) -> int:
        return 0 if stage == TOGETHER else self.decoders[layer].stage(stage).target

    def _batches(
        self, split: str, per_class: int, stage: int, epoch: int
    ) -> Iterator[tuple[Tensor, dict[int, Tensor]]]:
        """Yield inputs and the activations the decoders of this stage start from or aim at."""
        # Measured on the same test items throughout.
        place = (stage + 1, epoch) if split == "train" else (0, 0)
        rng = np.random.default_rng([self.settings.seed, len(split), *place])
        positions = rng.permutation(resample(self.source.labels(split), per_class, rng))
        needed = {target for layer in self.optimizers if (target := self._target(layer, stage))}
        for first in range(0, len(positions), self.settings.batch):
            x = self.source.fetch(split, positions[first : first + self.settings.batch])
            with torch.no_grad():
                activations = self.network.activations(x, needed | set(self.optimizers))
            yield x, {0: x, **activations}

    def _output(self, layer: int, stage: int, code: Tensor) -> Tensor:
        """Run a decoder up to a stage, its earlier stages being fixed."""
        decoder = self.decoders[layer]
        if stage == TOGETHER:
            output: Tensor = decoder(code)
            return output
        with torch.no_grad():
            for index in range(stage):
                code = decoder.stage(index)(code)
        restored: Tensor = decoder.stage(stage)(code)
        return restored

    def epoch(self, stage: int, epoch: int) -> None:
        """Train one epoch and measure it."""
        if epoch == 0:
            self._begin(stage)
        sums = {layer: np.zeros(3) for layer in self.optimizers}
        items = [0, 0]
        for x, known in self._batches("train", self.settings.per_class, stage, epoch):
            items[0] += len(x)
            for layer, optimizer in self.optimizers.items():
                target = known[self._target(layer, stage)]
                output = self._output(layer, stage, known[layer])
                if epoch == 0 and items[0] == len(x) and stage != TOGETHER:
                    output = self._fit_scale(layer, stage, output, target, known[layer])
                    for group in optimizer.param_groups:
                        group["lr"] = self.settings.lr * self.decoders[layer].stage(stage).size()
                squared = (output - target).flatten(1).square().sum(1)
                optimizer.zero_grad()
                (0.5 * squared.mean()).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                sums[layer][0] += float(squared.detach().sqrt().sum())
        for x, known in self._batches("test", self.settings.test_per_class, stage, epoch):
            items[1] += len(x)
            for layer in self.optimizers:
                target = known[self._target(layer, stage)]
                with torch.no_grad():
                    output = self._output(layer, stage, known[layer])
                sums[layer][1] += float((output - target).flatten(1).norm(dim=1).sum())
                sums[layer][2] += float(target.flatten(1).norm(dim=1).sum())
        for layer, (train, test, silence) in sums.items():
            self.history.append(
                Record(
                    layer,
                    stage,
                    epoch,
                    self._target(layer, stage),
                    float(train / max(items[0], 1)),
                    float(test / max(items[1], 1)),
                    float(silence / max(items[1], 1)),
                )
            )

    def _fit_scale(
        self, layer: int, stage: int, output: Tensor, target: Tensor, code: Tensor
    ) -> Tensor:
        """Scale a stage's first weights so that its output is as large as the target.

        The scale of least error would all but silence a stage whose first output is unlike the
        target, and a silent stage hardly learns.
        """
        size, wanted = float(output.detach().norm()), float(target.norm())
        if size > 0 and wanted > 0:
            self.decoders[layer].stage(stage).scale(wanted / size)
            return self._output(layer, stage, code)
        return output
