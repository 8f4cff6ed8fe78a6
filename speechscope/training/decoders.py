"""Training decoders, and with them encoders: phase by phase, then everything together.

Churchman 2015, sec. 6.5.5: trained at once from random weights, a decoder is drawn towards
mapping everything to silence. Each stage is therefore first trained to restore the input of its
encoder layer, from what the stages before it give; then all stages are fine-tuned on the
spectrogram. The encoder never changes (sec. 6.5.4). Riemens 2015, sec. 4.3, trains encoder and
decoder at once or unit by unit; see `speechscope.training.stacking`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechscope.networks.autoencoders import Autoencoder, encode, make_encoder
from speechscope.networks.layers import Network
from speechscope.training.decoder_settings import TOGETHER, DecoderSettings, Record
from speechscope.training.leak_test import measure
from speechscope.training.penalties import gaussian, penalty
from speechscope.training.resampling import resample
from speechscope.training.source import Items
from speechscope.training.stacking import Phase, parameters, phases, together


@dataclass(frozen=True)
class TrainedDecoders:
    """Autoencoders by layer number, how their training went, and the state to go on from.

    `scores` has a row a layer, from `speechscope.training.leak_test.measure`.
    """

    autoencoders: dict[int, Autoencoder]
    history: tuple[Record, ...]
    scores: tuple[dict[str, int | float], ...]
    state: dict[str, Any]


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
    """Train one decoder for each layer, all on the same batches, and measure them.

    The objective is ½ ‖X* − X′‖², averaged over a batch's items (Churchman 2015, sec. 6.5.3), with
    AdaGrad; penalties are added to it. The activations of an encoder that is kept are computed
    once a batch for all decoders; an encoder that is trained is each decoder's own.

    Parameters
    ----------
    network
        The trained network; it stays as it is.
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

    Raises
    ------
    UsageProblem
        The state is of other numbers of epochs, on the way to which it does not lie.
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
    count, batch, seed = settings.test_per_class, settings.batch, settings.seed
    scores = [
        measure(autoencoder, source, per_class=count, batch=batch, seed=seed)
        for _, autoencoder in sorted(run.autoencoders.items())
    ]
    return TrainedDecoders(run.autoencoders, tuple(run.history), tuple(scores), run.state())


class _Run:
    """Decoder training between two epochs."""

    def __init__(
        self, network: Network, source: Items, layers: list[int], settings: DecoderSettings
    ) -> None:
        self.source, self.settings = source, settings
        self.device = next(network.parameters()).device
        network.eval()
        self.encoder = network
        self.autoencoders: dict[int, Autoencoder] = {}
        for layer in dict.fromkeys(layers):
            # The same random encoder for every layer: what differs is the code's place alone.
            if not self.autoencoders or settings.scheme.trains_encoder:
                generator = torch.Generator().manual_seed(settings.seed)
                self.encoder = make_encoder(network, settings.scheme.encoder, generator)
            generator = torch.Generator().manual_seed(_number(settings.seed, layer))
            made = Autoencoder(self.encoder, layer, settings.scheme, generator)
            made.decoder.to(self.device)
            self.autoencoders[layer] = made
        self.phases = {
            layer: phases(autoencoder, settings.stack)
            for layer, autoencoder in self.autoencoders.items()
        }
        self.optimizers: dict[int, torch.optim.Optimizer] = {}
        self.history: list[Record] = []
        self.done = 0

    def schedule(self) -> list[tuple[int, int]]:
        """Return (phase, epoch) of every epoch in order."""
        if not self.settings.scheme.trains_anything:
            return []
        count = max(map(len, self.phases.values()), default=0)
        alone = [(s, e) for s in range(count) for e in range(self.settings.epochs)]
        return alone + [(TOGETHER, e) for e in range(self.settings.together)]

    def state(self) -> dict[str, Any]:
        """Return everything the rest of the training depends on."""
        own = self.settings.scheme.trains_encoder
        made = self.autoencoders
        return {
            "done": self.done,
            "decoders": {layer: a.decoder.state_dict() for layer, a in made.items()},
            "encoders": {layer: a.encoder_state() for layer, a in made.items() if own},
            "optimizers": {layer: o.state_dict() for layer, o in self.optimizers.items()},
            "history": [asdict(record) for record in self.history],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self.done = state["done"]
        self.history = [Record(**record) for record in state["history"]]
        self.settings.check_made(self.history, self.schedule())
        for layer, weights in state["decoders"].items():
            self.autoencoders[layer].decoder.load_state_dict(weights)
        for layer, weights in state["encoders"].items():
            self.autoencoders[layer].encoder.load_state_dict(weights, strict=False)
        if self.done:
            stage, _ = self.schedule()[self.done - 1]
            self._begin(stage)
            for layer, optimizer in state["optimizers"].items():
                self.optimizers[layer].load_state_dict(optimizer)

    def _phase(self, layer: int, stage: int) -> Phase:
        return (
            together(self.autoencoders[layer]) if stage == TOGETHER else self.phases[layer][stage]
        )

    def _begin(self, stage: int) -> None:
        """Make the optimizers of a phase; derivatives are taken by nothing else."""
        rate = self.settings.lr_together if stage == TOGETHER else self.settings.lr
        self.optimizers = {}
        for layer, autoencoder in self.autoencoders.items():
            if stage >= len(self.phases[layer]):
                continue
            groups = parameters(autoencoder, self._phase(layer, stage))
            autoencoder.decoder.requires_grad_(False)
            if self.settings.scheme.trains_encoder:
                autoencoder.encoder.requires_grad_(False)
            for chosen, _ in groups:
                for parameter in chosen:
                    parameter.requires_grad_(True)
            self.optimizers[layer] = torch.optim.Adagrad(
                [{"params": chosen, "lr": rate * size} for chosen, size in groups],
                # One pass over weights, sums and derivatives; a CPU kernel.
                fused=self.device.type == "cpu",
            )

    def _batches(self, split: str, per_class: int, stage: int, epoch: int) -> Iterator[Tensor]:
        """Yield inputs."""
        # Measured on the same test items throughout.
        place = (stage + 1, epoch) if split == "train" else (0, 0)
        rng = np.random.default_rng([self.settings.seed, len(split), *place])
        positions = rng.permutation(resample(self.source.labels(split), per_class, rng))
        for first in range(0, len(positions), self.settings.batch):
            yield self.source.fetch(split, positions[first : first + self.settings.batch])

    def _known(self, stage: int, clean: Tensor, x: Tensor) -> "_Known":
        """Compute what encoders that are kept make of a batch, once for all decoders."""
        if self.settings.scheme.trains_encoder:
            return _Known({0: clean}, {}, {})
        planned = [self._phase(layer, stage) for layer in self.optimizers]
        targets = {phase.target for phase in planned if phase.target}
        codes = {phase.code for phase in planned}
        switching = self.settings.scheme.unpool == "switch"
        with torch.no_grad():
            if x is clean:
                found, switches = encode(self.encoder, x, codes | targets, switches=switching)
                return _Known({0: x, **found}, found, switches)
            found, switches = encode(self.encoder, x, codes, switches=switching)
            aims = self.encoder.activations(clean, targets)
        return _Known({0: clean, **aims}, found, switches)

    def _restore(
        self, layer: int, phase: Phase, x: Tensor, known: "_Known"
    ) -> tuple[Tensor, Tensor]:
        """Return what an autoencoder restores of inputs, and its code."""
        found, switches = known.codes, known.switches
        if self.settings.scheme.trains_encoder:
            found, switches = self.autoencoders[layer].encode(x, {phase.code})
        code = restored = found[phase.code]
        for index in phase.stages:
            restored = self.autoencoders[layer].decoder.stage(index)(restored, switches)
        return restored, code

    def epoch(self, stage: int, epoch: int) -> None:
        """Train one epoch and measure it."""
        settings = self.settings
        if epoch == 0:
            self._begin(stage)
        generator = torch.Generator().manual_seed(_number(settings.seed, stage + 1, epoch))
        sums = {layer: np.zeros(3) for layer in self.optimizers}
        items = [0, 0]
        for clean in self._batches("train", settings.per_class, stage, epoch):
            items[0] += len(clean)
            x = clean
            if settings.noise:
                x = clean + gaussian(clean, settings.noise, generator)
            known = self._known(stage, clean, x)
            for layer, optimizer in self.optimizers.items():
                phase = self._phase(layer, stage)
                target = known.targets[phase.target]
                output, code = self._restore(layer, phase, x, known)
                first = epoch == 0 and items[0] == len(x) and stage != TOGETHER
                if first and settings.stack == "decoder":
                    self._fit_scale(layer, phase, output, target)
                    output, _ = self._restore(layer, phase, x, known)
                squared = (output - target).flatten(1).square().sum(1)
                encode_again = partial(
                    self.autoencoders[layer].encoder.activation, layer=phase.code
                )
                objective = 0.5 * squared.mean() + penalty(
                    encode_again,
                    x,
                    code,
                    sparse=settings.sparse,
                    contractive=settings.contractive,
                    generator=generator,
                )
                optimizer.zero_grad()
                objective.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                sums[layer][0] += float(squared.detach().sqrt().sum())
        for x in self._batches("test", settings.test_per_class, stage, epoch):
            items[1] += len(x)
            known = self._known(stage, x, x)
            for layer in self.optimizers:
                phase = self._phase(layer, stage)
                target = known.targets[phase.target]
                with torch.no_grad():
                    output, _ = self._restore(layer, phase, x, known)
                sums[layer][1] += float((output - target).flatten(1).norm(dim=1).sum())
                sums[layer][2] += float(target.flatten(1).norm(dim=1).sum())
        counts = np.maximum([items[0], items[1], items[1]], 1)
        for layer, total in sums.items():
            target_layer = self._phase(layer, stage).target
            self.history.append(
                Record(layer, stage, epoch, target_layer, *map(float, total / counts))
            )

    def _fit_scale(self, layer: int, phase: Phase, output: Tensor, target: Tensor) -> None:
        """Scale a stage's first weights so that its output is as large as the target.

        The scale of least error would all but silence a stage whose first output is unlike the
        target, and a silent stage hardly learns.
        """
        size, wanted = float(output.detach().norm()), float(target.norm())
        if size > 0 and wanted > 0:
            stage = self.autoencoders[layer].decoder.stage(phase.trained[0])
            stage.scale(wanted / size)
            for group in self.optimizers[layer].param_groups:
                group["lr"] = self.settings.lr * stage.size()


@dataclass(frozen=True)
class _Known:
    """What is known of a batch: targets and codes by layer, switches by pooling."""

    targets: dict[int, Tensor]
    codes: dict[int, Tensor]
    switches: dict[int, Tensor]


def _number(*words: int) -> int:
    """Return a seed that depends on all of some numbers."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])
