"""Decoders that are trained up to a delay: a better reconstruction from deep layers.

A deep layer tells which frequencies sounded, and no longer when within the segment a period began.
A decoder that is trained on the squared error has to average over all beginnings, and the average
of a wave over its phases is silence. These decoders answer with any one of the waves instead: their
error is the distance to the segment at the best delay and gain, 1 − mxcorr.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from speechscope.errors import UsageProblem
from speechscope.features.stft import Stft
from speechscope.inversion.problem import Problem, Reconstruction, at_most, complete
from speechscope.inversion.sound import inverse_real
from speechscope.networks.layers import Layered
from speechscope.registry import INVERSION
from speechscope.work.device import normal, seeded, sent
from speechscope.work.progress import Bar

if TYPE_CHECKING:
    from speechscope.stages.invert import Invert


LEVEL = 0.01
"""Weight of the squared difference of the log levels, which mxcorr leaves open (chosen)."""

WARM = 50
"""Steps until Adam's rate is whole: its first estimates of size are poor (chosen)."""

TOLD = 50
"""Batches after which the error is said (chosen: a device is waited for to know it)."""
SILENCE = 1e-3
"""Segments of a smaller norm than this have no shape to learn."""


class AlignedDecoder(nn.Module):
    """Two hidden layers, the second adding to the first, from activations to a spectrogram.

    Parameters
    ----------
    units
        Activations of the layer.
    shape
        (C, F, T) of the input; the spectrogram is its first channel.
    hidden
        Hidden units.
    dropout
        Share of them left out of a step.
    mean
        What inputs are centred by (C, F, T).
    derived
        Matrices of the other channels; see `Problem`.
    """

    centre: Tensor
    scale: Tensor
    mean: Tensor

    def __init__(
        self,
        units: int,
        shape: Sequence[int],
        hidden: int,
        dropout: float,
        mean: Tensor,
        derived: Tensor | None = None,
    ) -> None:
        super().__init__()
        self._shape, self._derived = (1, *shape[1:]), derived
        self.inner = nn.Linear(units, hidden)
        self.middle = nn.Linear(hidden, hidden)
        self.outer = nn.Linear(hidden, math.prod(self._shape))
        self._dropout = dropout
        self.register_buffer("centre", torch.zeros(units))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("mean", mean.clone())

    def spectrogram(self, code: Tensor) -> Tensor:
        """Return spectrograms (B, 1, F, T) for activations (B, …), not centred."""
        code = (code.flatten(1) - self.centre) / self.scale
        hidden = self._some(torch.relu(self.inner(code)))
        hidden = hidden + self._some(torch.relu(self.middle(hidden)))
        flat: Tensor = self.outer(hidden)
        return flat.view(len(code), *self._shape)

    def _some(self, hidden: Tensor) -> Tensor:
        """Leave some units out in training; drawn on the CPU, the same ones on every device."""
        if not self.training or not self._dropout:
            return hidden
        left = 1 - self._dropout
        return hidden * sent(torch.empty(hidden.shape).bernoulli_(left).div_(left), hidden.device)

    def forward(self, code: Tensor) -> Tensor:
        """Return centred inputs (B, 1, F, T) for activations (B, …)."""
        return complete(self.spectrogram(code) - self.mean[:1], self._derived)


def delayed_error(answer: Tensor, wanted: Tensor, lags: int) -> Tensor:
    """Return 1 − max_m Σ_n x[n] y[n + m] / (‖x‖ ‖y‖) over the lags −`lags` … `lags`, (B,).

    Source: the mxcorr of Churchman 2015, sec. 7, as something to be trained on.

    Parameters
    ----------
    answer, wanted : (B, samples)
    """
    samples = answer.shape[1]
    reach = min(lags, samples - 1)
    length = next_fast_len(samples + reach, real=True)
    with torch.no_grad():
        # Which delay is best does not change with a small change of the waveform.
        spectrum = torch.fft.rfft(wanted, length).conj() * torch.fft.rfft(answer, length)
        correlation = torch.fft.irfft(spectrum, length)
        allowed = torch.cat([correlation[:, : reach + 1], correlation[:, length - reach :]], 1)
        best = allowed.argmax(1)
        lag = torch.where(best > reach, best - 2 * reach - 1, best)
        places = torch.arange(samples, device=answer.device) - lag[:, None]
        inside = (places >= 0) & (places < samples)
        delayed = wanted.gather(1, places.clamp(0, samples - 1)) * inside
    norms = answer.norm(dim=1) * wanted.norm(dim=1)
    error: Tensor = 1 - (answer * delayed).sum(1) / norms.clamp(min=1e-12)
    return error


def train_aligned(
    network: Layered,
    layers: Sequence[int],
    segments: tuple[Tensor, Tensor],
    stft: Stft,
    mean: Tensor,
    settings: "Invert",
    progress: Bar | None = None,
    *,
    derived: Tensor | None = None,
) -> dict[int, AlignedDecoder]:
    """Train a decoder for each layer (a number), the network staying as it is.

    A decoder minimises `delayed_error` of its waveform, and `LEVEL` times the squared difference of
    the logarithms of the norms. It sees activations of its own layer alone. One forward pass of
    the network serves all layers. Adam's rate rises over the first `WARM` steps and falls to 0 by
    half a cosine. With ``align_lags`` of 0, decoders have to be on time.

    Parameters
    ----------
    segments
        Of the training split: centred inputs (N, C, F, T) and waveforms (N, samples), of which at
        most ``align_items`` are used.
    mean
        What inputs are centred by (C, F, T), on the device to train on.
    progress
        Called with (steps done, steps in all).
    derived
        See `Problem`.
    """
    inputs, waveforms = segments
    random = torch.Generator().manual_seed(settings.seed)
    with seeded(settings.seed):
        decoders = {
            layer: AlignedDecoder(
                math.prod(network.shapes[layer - 1]),
                network.input_shape,
                settings.align_hidden,
                settings.align_dropout,
                mean,
                derived,
            ).to(mean.device)
            for layer in layers
        }
        count, batch = min(len(inputs), settings.align_items), settings.align_batch
        pool = torch.randperm(len(inputs), generator=random)[:count]
        _standardise(network, decoders, sent(inputs[pool[: 8 * batch]], mean.device))
        optimizer = torch.optim.Adam(
            [p for decoder in decoders.values() for p in decoder.train().parameters()]
        )
        orders = (
            pool[torch.randperm(count, generator=random)] for _ in range(settings.align_epochs)
        )
        batches = (items for order in orders for items in torch.split(order, batch))
        total = settings.align_epochs * math.ceil(count / batch)
        for done, items in enumerate(batches):
            items = items[waveforms[items].norm(dim=1) > SILENCE]
            if len(items):
                optimizer.param_groups[0]["lr"] = settings.align_rate * _share(done, total)
                heard, seen = (sent(part[items], mean.device) for part in (waveforms, inputs))
                error = _backward(network, decoders, seen, heard, stft, settings.align_lags)
                optimizer.step()
                optimizer.zero_grad()
            if progress is not None:
                if done % TOLD == 0 and len(items):
                    progress.said = f"error {float(error.detach()):.3g}"
                progress(done + 1, total)
    return {layer: decoder.eval().requires_grad_(False) for layer, decoder in decoders.items()}


def _share(done: int, total: int) -> float:
    """Return which share of the rate the next step takes."""
    return min(1.0, (done + 1) / WARM) * 0.5 * (1 + math.cos(math.pi * done / total))


def _backward(
    network: Layered,
    decoders: dict[int, AlignedDecoder],
    inputs: Tensor,
    waveforms: Tensor,
    stft: Stft,
    lags: int,
) -> Tensor:
    """Leave the derivative of the mean error in the parameters; return that of the last layer."""
    with torch.no_grad():
        codes = network.activations(inputs, decoders)
    for layer, decoder in decoders.items():
        answer = inverse_real(stft, decoder.spectrogram(codes[layer])[:, 0])
        level = torch.log(answer.norm(dim=1) / waveforms.norm(dim=1))
        error = (delayed_error(answer, waveforms, lags) + LEVEL * level.square()).mean()
        error.backward()  # type: ignore[no-untyped-call]
    return error


def _standardise(network: Layered, decoders: dict[int, AlignedDecoder], inputs: Tensor) -> None:
    """Set what activations are shifted and divided by, from some of the segments."""
    with torch.no_grad():
        codes = network.activations(inputs, decoders)
    for layer, decoder in decoders.items():
        code = codes[layer].flatten(1)
        decoder.centre.copy_(code.mean(0))
        spread = (code - decoder.centre).square().mean().sqrt()
        decoder.scale.copy_(torch.where(spread > 0, spread, 1.0))


@INVERSION.register("decode")
@at_most(lambda settings: 0)
def decode(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Restore the input by a decoder of ``decode-train``, from the activations alone.

    Runs that are to be averaged decode Y* + σ ‖Y*‖ / √units · ε with normal noise ε, else all of
    them would be the same (Churchman 2015, sec. 6.7: "adding slight noise to the input"). The
    history holds E of the result alone, after no step.

    Raises
    ------
    UsageProblem
        The problem has no such decoder.
    """
    return _restored("decode", problem)


@INVERSION.register("align")
@at_most(lambda settings: 0)
def align(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Restore the input by a decoder that `speechscope.inversion.align` trained; see `decode`."""
    return _restored("align", problem)


def _restored(method: str, problem: Problem) -> Reconstruction:
    if method not in problem.restorers:
        raise UsageProblem(
            f"layer {problem.layer}: no decoder was trained for it "
            f"(speechscope decode-train --layer {problem.layer})"
        )
    with torch.no_grad():
        x = problem.restorers[method](noisy(problem)).contiguous()
        energy = replace(problem, derived=None).objective().energy(x)
    steps = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return Reconstruction(x, energy[:, None], steps)


def noisy(problem: Problem) -> Tensor:
    """Return the activations with the noise of each item's seed."""
    target = problem.target
    if not problem.noise:
        return target
    size = target.flatten(1).square().mean(1).sqrt() * problem.noise
    noise = sent(normal(problem.seeds, target.shape[1:]), target.device).to(target)
    return target + size.view(-1, *(1 for _ in target.shape[1:])) * noise
