"""Training decoders, and with them encoders: phase by phase, then everything together.

Churchman 2015, sec. 6.5.5: trained at once from random weights, a decoder is drawn towards
mapping everything to silence. Each stage is therefore first trained to restore the input of its
encoder layer, from what the stages before it give; then all stages are fine-tuned on the
spectrogram. The encoder never changes (sec. 6.5.4). Riemens 2015, sec. 4.3, trains encoder and
decoder at once or unit by unit; see `speechscope.training.decoders`. His sec. 8 proposes denoising
(Vincent et al. 2008), sparse (Ng 2011) and contractive (Rifai et al. 2011) autoencoders.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechscope.errors import UsageProblem
from speechscope.features import distances
from speechscope.networks.autoencoders import Autoencoder, Scheme, encode, make_encoder
from speechscope.networks.decoders import ConvolutionStage, Switches
from speechscope.networks.layers import Network, bytes_each
from speechscope.training.loop import Training
from speechscope.training.optimizers import AdaGrad, Optimizer
from speechscope.training.source import CorpusSource, in_batches, resample
from speechscope.work.device import parts, sent

if TYPE_CHECKING:
    from speechscope.stages.decode_train import DecodeTrain


@dataclass(frozen=True)
class Phase:
    """What runs and what is trained for some epochs.

    Parameters
    ----------
    code
        Number of the encoder layer that the decoder starts from.
    stages
        The decoder's stages that run.
    target
        Number of the encoder layer that is restored; 0 is the input.
    trained
        The decoder's stages that are trained.
    layers
        Names of the encoder's layers that are trained.
    """

    code: int
    stages: range
    target: int
    trained: range
    layers: tuple[str, ...]


def together(autoencoder: Autoencoder) -> Phase:
    """Return the training of everything at once."""
    every = range(len(autoencoder.decoder.stages))
    names = autoencoder.encoder_names() if autoencoder.scheme.trains_encoder else []
    return Phase(autoencoder.layer, every, 0, every, tuple(names))


def phases(autoencoder: Autoencoder, stack: str) -> list[Phase]:
    """Return what is trained, in order; `together` may follow."""
    whole = together(autoencoder)
    if stack == "none":
        return [whole]
    decoder, count = autoencoder.decoder, len(whole.stages)
    targets = [decoder.stage(index).target for index in range(count)]
    if stack == "decoder":
        return [
            Phase(whole.code, range(index + 1), target, range(index, index + 1), ())
            for index, target in enumerate(targets)
        ]
    # A unit ends where the stage inside it takes its target from; the innermost at the code.
    ends = [whole.code, *targets]
    found = []
    for units in range(1, count + 1):
        first = count - units
        old = 0 if stack == "weak" else units - 1
        trained = range(first, count if stack == "weak" else first + 1)
        layers = whole.layers[old:units]
        found.append(Phase(ends[first], range(first, count), 0, trained, layers))
    return found


def parameters(autoencoder: Autoencoder, phase: Phase) -> list[tuple[list[nn.Parameter], float]]:
    """Return what a phase trains, in groups, each with the root mean square of its weights.

    Tied weights are the encoder's; a tied stage has its biases alone, which are trained where the
    encoder is: Riemens' decoders "fixed to transpose" on a kept encoder learn nothing (table 3).
    """
    scheme, groups = autoencoder.scheme, []
    tied = scheme.decoder == "transpose-tied" and scheme.trains_encoder
    if tied or scheme.decoder in ("random", "transpose-init"):
        for index in phase.trained:
            stage = autoencoder.decoder.stage(index)
            groups.append((list(stage.parameters()), stage.size()))
    for name in phase.layers:
        layer = autoencoder.encoder.get_submodule(name)
        weight, _ = autoencoder.encoder.parameters_of(name)
        size = float(weight.detach().square().mean().sqrt())
        groups.append((list(layer.parameters()), size))
    return groups


def decodings(
    autoencoder: Autoencoder, code: Tensor, switches: Switches | None
) -> dict[str, Tensor]:
    """Return what is restored from a code, and from none.

    ``decoded``: from the code. ``zeroed``: from zeros in its place (Riemens 2015, sec. 4.2.2).
    ``mangled``: with the filters and biases of the first decoding convolution set to zero
    (Churchman 2015, app. A); what it restores is zero, whatever it is given.
    """
    decoder = autoencoder.decoder
    first = next((i for i, s in enumerate(decoder.stages) if isinstance(s, ConvolutionStage)), 0)
    nothing = code.new_zeros(len(code), *decoder.stage(first).shape)
    return {
        "decoded": decoder(code, switches),
        "zeroed": decoder(torch.zeros_like(code), switches),
        "mangled": decoder(nothing, switches, first + 1),
    }


@torch.no_grad()
def measure(
    autoencoder: Autoencoder, source: CorpusSource, settings: "DecodeTrain"
) -> dict[str, Any]:
    """Return an autoencoder's errors on inputs of both splits, and its leak test on test inputs.

    Returns
    -------
    The ``layer``; mean Euclidean distances to the input (Churchman 2015, sec. 6.2): ``train`` and
    ``test`` of what is decoded, ``silence`` of zeros, ``zeroed`` and ``mangled`` of `decodings`;
    and mean largest cross-correlations with it, of centred spectrograms (sec. 7, mxcorr2):
    ``correlation``, ``zeroed_correlation``, ``mangled_correlation``. ``items``: of every test item
    the distance of what is decoded and of silence, by ``test`` and ``silence``, (N,) each.
    """
    test: dict[str, list[np.ndarray]] = {}
    for x, code, switches in _codes(autoencoder, source, "test", settings):
        restored = decodings(autoencoder, code, switches)
        for name, found in [*restored.items(), ("silence", torch.zeros_like(x))]:
            first, second = x.cpu().numpy(), found.cpu().numpy()
            test.setdefault(name, []).append(distances.euclidean(first, second))
            correlation = distances.max_cross_correlation(first, second)
            test.setdefault(f"{name}_correlation", []).append(correlation)
    train = [
        distances.euclidean(x.cpu().numpy(), autoencoder.decoder(code, switches).cpu().numpy())
        for x, code, switches in _codes(autoencoder, source, "train", settings)
    ]
    mean = {name: _mean(values) for name, values in test.items()}
    return {
        "layer": autoencoder.layer,
        "train": _mean(train),
        "test": mean.get("decoded", 0.0),
        "silence": mean.get("silence", 0.0),
        "correlation": mean.get("decoded_correlation", 0.0),
        **{
            name: mean.get(name, 0.0)
            for name in ("zeroed", "zeroed_correlation", "mangled", "mangled_correlation")
        },
        "items": {
            name: torch.from_numpy(np.concatenate(test[key]))
            for name, key in (("test", "decoded"), ("silence", "silence"))
            if key in test
        },
    }


def _mean(parts: list[np.ndarray]) -> float:
    return float(np.concatenate(parts).mean()) if parts else 0.0


def _codes(
    autoencoder: Autoencoder, source: CorpusSource, split: str, settings: "DecodeTrain"
) -> Iterator[tuple[Tensor, Tensor, Switches]]:
    """Yield inputs, their codes and switches, batch by batch."""
    rng = np.random.default_rng([settings.seed, len(split)])
    positions = resample(source.labels(split), settings.test_per_class, rng)
    for part in in_batches(positions, settings.batch):
        x = source.fetch(split, part)
        found, switches = autoencoder.encode(x)
        yield x, found[autoencoder.layer], switches


TOGETHER = -1
"""The phase number under which the history lists the fine-tuning of everything together."""
PATIENCE = 3
"""Epochs over which a phase has to gain something (chosen)."""
PROBE = 1e-2
"""Length of the steps that slopes are taken over, as a share of the input's root mean square."""


@dataclass(frozen=True)
class Known:
    """What is known of a batch: targets and codes by layer, switches by pooling."""

    targets: dict[int, Tensor]
    codes: dict[int, Tensor]
    switches: dict[int, Tensor]


class DecoderTraining(Training):
    """Training one decoder for each of some layers, all on the same batches.

    The objective is ½ ‖X* − X′‖², averaged over a batch's items (Churchman 2015, sec. 6.5.3), with
    AdaGrad; penalties are added to it. The activations of an encoder that is kept are computed
    once a batch for all decoders; an encoder that is trained is each decoder's own.

    The history has a row for every decoder and epoch. `train` and `test` are mean Euclidean
    distances to the target, ‖X* − X′‖ (sec. 6.2): of the batches as they were trained on, and
    after the epoch. `silence` is the test target's mean distance to zeros; a test error near it
    means that the decoder maps everything to silence. `stage` counts the phases, `TOGETHER` for the
    last; `target` is the layer restored.

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

    Attributes
    ----------
    autoencoders
        By layer number.
    """

    def __init__(
        self,
        network: Network,
        source: CorpusSource,
        layers: Sequence[int | str],
        settings: "DecodeTrain",
    ) -> None:
        self.source, self.settings = source, settings
        names = ("encoder", "decoder", "unpool", "relu")
        self.scheme = Scheme(**{name: getattr(settings, name) for name in names})
        device = next(network.parameters()).device
        network.eval()
        self.encoder = network
        self.autoencoders: dict[int, Autoencoder] = {}
        for layer in dict.fromkeys(network.resolve(layer) for layer in layers):
            # The same random encoder for every layer: what differs is the code's place alone.
            if not self.autoencoders or self.scheme.trains_encoder:
                generator = torch.Generator().manual_seed(settings.seed)
                self.encoder = make_encoder(network, self.scheme.encoder, generator)
            generator = torch.Generator().manual_seed(_number(settings.seed, layer))
            made = Autoencoder(self.encoder, layer, self.scheme, generator)
            made.decoder.to(device)
            self.autoencoders[layer] = made
        self.phases = {
            layer: phases(autoencoder, settings.stack)
            for layer, autoencoder in self.autoencoders.items()
        }
        self.optimizers: dict[int, Optimizer] = {}
        self.history, self.made = [], 0
        self.schedule: list[tuple[int, int]] = []
        if self.scheme.trains_anything:
            count = max(map(len, self.phases.values()), default=0)
            self.schedule += [(s, e) for s in range(count) for e in range(settings.epochs)]
            self.schedule += [(TOGETHER, e) for e in range(settings.together)]
        self.planned = len(self.schedule)

    def _levelled(self, rows: Sequence[Mapping[str, Any]]) -> set[int]:
        """Return which decoders gain no more in the phase of a history's last row.

        One gains whose error on what it is trained on fell by at least the share ``level`` over
        the last `PATIENCE` epochs. Where none gains, what remains of the phase is left out.
        """
        if not self.settings.level or not rows:
            return set()
        stage, epoch = rows[-1]["stage"], rows[-1]["epoch"]
        errors: dict[int, list[float]] = {}
        for row in rows:
            if row["stage"] == stage:
                errors.setdefault(row["layer"], []).append(row["train"])
        level = {
            layer
            for layer, e in errors.items()
            if len(e) > PATIENCE and e[-1] > (1 - self.settings.level) * e[-1 - PATIENCE]
        }
        if len(level) == len(errors):
            self.schedule = [at for at in self.schedule if at[0] != stage or at[1] <= epoch]
            self.planned = len(self.schedule)
        return level

    def state(self) -> dict[str, Any]:
        """See `Training`; the tensors are those that are trained."""
        own, made = self.scheme.trains_encoder, self.autoencoders
        return {
            "done": self.made,
            "decoders": {layer: a.decoder.state_dict() for layer, a in made.items()},
            "encoders": {layer: a.encoder_state() for layer, a in made.items() if own},
            # In the form of `torch.optim`.
            "optimizers": {
                layer: {
                    "state": dict(enumerate(optimizer.state())),
                    "param_groups": [
                        {"lr": rule.lr, "params": [n]} for n, rule in enumerate(optimizer.rules)
                    ],
                }
                for layer, optimizer in self.optimizers.items()
            },
            "history": [dict(row) for row in self.history],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """See `Training`.

        Raises
        ------
        UsageProblem
            The state is of other numbers of epochs, on the way to which it does not lie.
        """
        self.made = state["done"]
        self.history = [dict(row) for row in state["history"]]
        made = list(dict.fromkeys((row["stage"], row["epoch"]) for row in self.history))
        for at in made:
            last = max(
                n for n, row in enumerate(self.history) if (row["stage"], row["epoch"]) == at
            )
            self._levelled(self.history[: last + 1])
        if made != self.schedule[: len(made)]:
            alone = max((epoch + 1 for phase, epoch in made if phase != TOGETHER), default=0)
            fine = sum(phase == TOGETHER for phase, _ in made)
            raise UsageProblem(
                f"--epochs {self.settings.epochs} --together {self.settings.together}: --resume "
                f"finds {alone} epochs a phase and {fine} together made; keep their numbers, or "
                "run without --resume"
            )
        for layer, weights in state["decoders"].items():
            self.autoencoders[layer].decoder.load_state_dict(weights)
        for layer, weights in state["encoders"].items():
            self.autoencoders[layer].encoder.load_state_dict(weights, strict=False)
        if self.made:
            stage, _ = self.schedule[self.made - 1]
            self._begin(stage)
            self.optimizers = {n: o for n, o in self.optimizers.items() if n in state["optimizers"]}
            for layer, saved in state["optimizers"].items():
                rates = {n: group["lr"] for group in saved["param_groups"] for n in group["params"]}
                self.optimizers[layer].rules = [AdaGrad(rate) for rate in rates.values()]
                self.optimizers[layer].load(saved["state"][n] for n in rates)

    def _phase(self, layer: int, stage: int) -> Phase:
        return (
            together(self.autoencoders[layer]) if stage == TOGETHER else self.phases[layer][stage]
        )

    def _begin(self, stage: int) -> None:
        """Choose what a phase trains; derivatives are taken by nothing else."""
        rate = self.settings.lr_together if stage == TOGETHER else self.settings.lr
        self.optimizers = {}
        for layer, autoencoder in self.autoencoders.items():
            if stage >= len(self.phases[layer]):
                continue
            chosen = parameters(autoencoder, self._phase(layer, stage))
            autoencoder.decoder.requires_grad_(False)
            if self.scheme.trains_encoder:
                autoencoder.encoder.requires_grad_(False)
            for group, _ in chosen:
                for parameter in group:
                    parameter.requires_grad_(True)
            self.optimizers[layer] = Optimizer(
                [parameter for group, _ in chosen for parameter in group],
                [AdaGrad(rate * size) for group, size in chosen for _ in group],
            )

    def _positions(self, split: str, per_class: int) -> list[NDArray[np.int64]]:
        """Return the batches of an epoch's items; test items are the same throughout."""
        stage, epoch = self.schedule[self.made]
        place = (stage + 1, epoch) if split == "train" else (0, 0)
        rng = np.random.default_rng([self.settings.seed, len(split), *place])
        positions = rng.permutation(resample(self.source.labels(split), per_class, rng))
        return in_batches(positions, self.settings.batch)

    def batches(self) -> list[NDArray[np.int64]]:
        """See `Training`."""
        return self._positions("train", self.settings.per_class)

    def read(
        self, batches: Sequence[NDArray[np.int64]]
    ) -> Iterator[tuple[Tensor, torch.Generator, bool]]:
        """Yield inputs, what draws for them, and whether a phase begins with them."""
        stage, epoch = self.schedule[self.made]
        if epoch == 0:
            self._begin(stage)
        generator = torch.Generator().manual_seed(_number(self.settings.seed, stage + 1, epoch))
        for number, positions in enumerate(batches):
            begins = epoch == number == 0 and stage != TOGETHER
            yield self.source.fetch("train", positions), generator, begins

    def learn(
        self, batch: tuple[Tensor, torch.Generator, bool], share: float
    ) -> tuple[int, dict[int, float]]:
        """Train on a batch; return its items and the sum of their errors, by layer."""
        settings, (stage, _) = self.settings, self.schedule[self.made]
        clean, generator, begins = batch
        x = clean + gaussian(clean, settings.noise, generator) if settings.noise else clean
        errors = dict.fromkeys(self.optimizers, 0.0)
        each = 2 * bytes_each(self.encoder, x.shape[1:])
        for part in parts(len(x), each, x.device):
            known = self._known(stage, clean[part], clean[part] if x is clean else x[part])
            for layer, optimizer in self.optimizers.items():
                objective, squared = self._objective(
                    layer, stage, x[part], known, generator, begins and part.start == 0
                )
                optimizer.add(objective * ((part.stop - part.start) / len(x)))
                errors[layer] += float(squared.sqrt().sum())
                if part.stop == len(x):
                    optimizer.step()
        return len(clean), errors

    def _objective(
        self,
        layer: int,
        stage: int,
        x: Tensor,
        known: Known,
        generator: torch.Generator,
        begins: bool,
    ) -> tuple[Tensor, Tensor]:
        """Return what is minimised over some inputs, and the squared error of each, (B,)."""
        settings, phase = self.settings, self._phase(layer, stage)
        target = known.targets[phase.target]
        output, code = self._restored(layer, phase, x, known)
        if begins and settings.stack == "decoder":
            self._fit_scale(layer, phase, output, target)
            output, _ = self._restored(layer, phase, x, known)
        squared = (output - target).flatten(1).square().sum(1)
        objective = 0.5 * squared.mean()
        if settings.sparse:
            objective = objective + settings.sparse * sparsity(code)
        if settings.contractive:
            encoder = self.autoencoders[layer].encoder
            slope = contraction(partial(encoder.activation, layer=phase.code), x, code, generator)
            objective = objective + settings.contractive * slope
        return objective, squared.detach()

    def measure(self, learned: Sequence[tuple[int, dict[int, float]]], begun: float) -> None:
        """See `Training`."""
        stage, epoch = self.schedule[self.made]
        items, sums = 0, {layer: np.zeros(2) for layer in self.optimizers}
        for positions in self._positions("test", self.settings.test_per_class):
            x = self.source.fetch("test", positions)
            items += len(x)
            known = self._known(stage, x, x)
            for layer in self.optimizers:
                phase = self._phase(layer, stage)
                target = known.targets[phase.target]
                with torch.no_grad():
                    output, _ = self._restored(layer, phase, x, known)
                sums[layer] += [
                    float(distance.flatten(1).norm(dim=1).sum())
                    for distance in (output - target, target)
                ]
        trained = max(sum(count for count, _ in learned), 1)
        for layer, (test, silence) in sums.items():
            self.history.append(
                {
                    "layer": layer,
                    "stage": stage,
                    "epoch": epoch,
                    "target": self._phase(layer, stage).target,
                    "train": sum(errors[layer] for _, errors in learned) / trained,
                    "test": float(test) / max(items, 1),
                    "silence": float(silence) / max(items, 1),
                }
            )
        for layer in self._levelled(self.history) & set(self.optimizers):
            del self.optimizers[layer]

    def _known(self, stage: int, clean: Tensor, x: Tensor) -> Known:
        """Compute what encoders that are kept make of a batch, once for all decoders."""
        if self.scheme.trains_encoder:
            return Known({0: clean}, {}, {})
        planned = [self._phase(layer, stage) for layer in self.optimizers]
        targets = {phase.target for phase in planned if phase.target}
        codes = {phase.code for phase in planned}
        switching = self.scheme.unpool == "switch"
        with torch.no_grad():
            if x is clean:
                found, switches = encode(self.encoder, x, codes | targets, switches=switching)
                return Known({0: x, **found}, found, switches)
            found, switches = encode(self.encoder, x, codes, switches=switching)
            aims = self.encoder.activations(clean, targets)
        return Known({0: clean, **aims}, found, switches)

    def _restored(self, layer: int, phase: Phase, x: Tensor, known: Known) -> tuple[Tensor, Tensor]:
        """Return what an autoencoder restores of inputs, and its code."""
        found, switches = known.codes, known.switches
        if self.scheme.trains_encoder:
            found, switches = self.autoencoders[layer].encode(x, {phase.code})
        code = restored = found[phase.code]
        for index in phase.stages:
            restored = self.autoencoders[layer].decoder.stage(index)(restored, switches)
        return restored, code

    def _fit_scale(self, layer: int, phase: Phase, output: Tensor, target: Tensor) -> None:
        """Scale a stage's first weights so that its output is as large as the target.

        The scale of least error would all but silence a stage whose first output is unlike the
        target, and a silent stage hardly learns.
        """
        size, wanted = float(output.detach().norm()), float(target.norm())
        if size > 0 and wanted > 0:
            stage = self.autoencoders[layer].decoder.stage(phase.trained[0])
            stage.scale(wanted / size)
            optimizer = self.optimizers[layer]
            rule = AdaGrad(self.settings.lr * stage.size())
            optimizer.rules = [rule] * len(optimizer.rules)


def gaussian(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return noise of the shape of x, with `share` of its root mean square.

    Drawn where the generator is, so that it is the same on every device.
    """
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device)
    return sent(noise, x.device) * (share * x.detach().square().mean().sqrt())


def sparsity(code: Tensor) -> Tensor:
    """Return the mean over items of Σ |h|.

    Ng 2011 penalises the divergence of each unit's mean activity from a small one, which needs
    units between 0 and 1; for rectified units the L1 norm stands in its place.
    """
    return code.abs().flatten(1).sum(1).mean()


def contraction(
    encode: Callable[[Tensor], Tensor], x: Tensor, code: Tensor, generator: torch.Generator
) -> Tensor:
    """Return an estimate of the mean over items of ‖∂h/∂x‖² (Frobenius).

    ‖J‖² = E ‖J v‖² for v of independent components of variance 1; one v is drawn for each item, and
    J v = (h(x + ε v) − h(x)) / ε, which is exact where no ReLU and no maximum changes in between.

    Parameters
    ----------
    encode
        Gives the code of inputs.
    x, code
        Inputs (B, C, F, T) and their code (B, …).
    generator
        Draws v.

    Notes
    -----
    Rifai et al. 2011, eq. 1, the penalty; the estimate is chosen: an exact one takes a pass back
    through the encoder for every unit of the code.
    """
    step = gaussian(x, PROBE, generator)
    length = PROBE * x.detach().square().mean().sqrt()
    slope = (encode(x + step) - code) / length
    return slope.flatten(1).square().sum(1).mean()


def _number(*words: int) -> int:
    """Return a seed that depends on all of some numbers."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])
