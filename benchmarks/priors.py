"""What helps to reconstruct speech from deep layers: every idea tried, in one table.

    python benchmarks/priors.py padded.pt --layers 6,9,12

Every row reconstructs the same test items, of speakers not trained on, from the activations of one
layer. Decoders are trained on the same training segments for the same number of passes; descents
take the same number of steps. Scores are those of `speechscope score`, of the waveform.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from speechscope.corpus.store import Corpus
from speechscope.features import distances
from speechscope.features.stft import Stft
from speechscope.inversion.align import AlignedDecoder, train_aligned
from speechscope.inversion.bp import bp
from speechscope.inversion.problem import Problem
from speechscope.inversion.sound import griffin_lim, inverse_real, stft_of, transform
from speechscope.inversion.source import training_segments
from speechscope.networks.layers import Network
from speechscope.networks.saved import load_classifier
from speechscope.scores.statistics import Sums
from speechscope.stages.invert import Invert
from speechscope.store.lineage import ancestor

FLOOR = 1e-3
"""Smallest modulus that logarithms are taken of."""


def real_part(stft: Stft, waveforms: Tensor) -> Tensor:
    """Return the real part (B, 1, F, T) of waveforms (B, samples), differentiably."""
    found: Tensor = transform(stft, waveforms).real[:, None]
    return found


class Bench:
    """A network, one of its layers, test items and training segments."""

    def __init__(self, options: argparse.Namespace, layer: int) -> None:
        trained = load_classifier(options.model)
        data = Corpus(ancestor(options.model, trained.checkpoint.record, "corpus", {}))
        self.network: Network = trained.network.eval().requires_grad_(False)
        self.layer, self.options, self.stft = layer, options, stft_of(data)
        self.mean = trained.mean
        rng = np.random.default_rng(1)
        items = np.sort(rng.permutation(data.items("test"))[: options.items])
        self.inputs = torch.from_numpy(data.centred(items))
        self.waveforms = torch.from_numpy(data.waveforms(items))
        self.target = self.network.activation(self.inputs, layer)
        self.segments = training_segments(data, options.train, 0)
        self.settings = Invert(align_items=options.train, align_epochs=options.epochs)
        self._codes: Tensor | None = None

    def codes(self) -> Tensor:
        """Return the activations (N, units) of all training segments."""
        if self._codes is None:
            parts = [
                self.network.activation(self.segments[0][part], self.layer).flatten(1)
                for part in torch.split(torch.arange(len(self.segments[0])), 256)
            ]
            self._codes = torch.cat(parts)
        return self._codes

    def heard(self, x: Tensor) -> Tensor:
        """Return the waveforms of centred inputs."""
        return inverse_real(self.stft, (x + self.mean)[:, 0])

    def mismatch(self, x: Tensor) -> Tensor:
        """Return how far the activations are, over their size, (B,)."""
        y = self.network.activation(x, self.layer)
        apart: Tensor = torch.linalg.vector_norm((y - self.target).flatten(1), dim=1)
        size: Tensor = torch.linalg.vector_norm(self.target.flatten(1), dim=1)
        return apart / size

    def row(self, name: str, waveforms: Tensor, began: float) -> None:
        """Print the scores of one idea."""
        true, found = self.waveforms.numpy(), waveforms.detach().numpy()
        values = distances.max_cross_correlation(true, found)
        low, high = Sums(values, np.ones(len(values))).interval()
        apart = float(self.mismatch(real_part(self.stft, waveforms.detach()) - self.mean).mean())
        print(
            f"{self.layer:>3} {name:<52} {values.mean():.3f} ({low:.3f}-{high:.3f}) "
            f"{distances.correlation(true, found).mean():>6.3f} "
            f"{distances.log_spectral_distance(true, found).mean():>6.2f} {apart:>6.3f} "
            f"{time.perf_counter() - began:>5.0f} s",
            flush=True,
        )


def descend(
    bench: Bench,
    start: Tensor,
    *,
    of_waveform: bool,
    weight: Tensor | float = 1.0,
    variation: float = 0.0,
) -> Tensor:
    """Return waveforms after Adam's descent on the mismatch of the layer, as shares of its size.

    Parameters
    ----------
    start
        Waveforms (B, samples), or centred inputs.
    of_waveform
        Whether the waveform moves, so that every spectrogram visited belongs to one.
    weight
        Of each unit's difference.
    variation
        Weight of the total variation of the spectrogram, as a share of its norm.
    """
    copies = len(start) // len(bench.target)
    target = bench.target.repeat_interleave(copies, 0)
    size = (target * weight).flatten(1).norm(dim=1)
    x = start.clone().requires_grad_()
    scale = float(start.detach().flatten(1).square().mean().sqrt())
    steps, rate = bench.options.steps, 0.15 * scale
    optimizer = torch.optim.Adam([x], lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        inputs = real_part(bench.stft, x) - bench.mean if of_waveform else x
        apart = (bench.network.activation(inputs, bench.layer) - target) * weight
        error = (apart.flatten(1).norm(dim=1) / size).square()
        if variation:
            jumps = inputs.diff(dim=2).abs().sum((1, 2, 3)) + inputs.diff(dim=3).abs().sum(
                (1, 2, 3)
            )
            error = error + variation * jumps / inputs.detach().abs().sum((1, 2, 3)).clamp(min=1e-9)
        optimizer.zero_grad()
        error.sum().backward()
        optimizer.step()
    return x.detach() if of_waveform else bench.heard(x.detach())


def trained(bench: Bench, **changes: Any) -> AlignedDecoder:
    """Return a decoder trained up to a delay, with other settings."""
    settings = replace(bench.settings, **changes)
    return train_aligned(
        bench.network, [bench.layer], bench.segments, bench.stft, bench.mean, settings
    )[bench.layer]


def fit(bench: Bench, goal: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Train the same decoder on the squared error of what `goal` makes of waveforms."""
    settings = bench.settings
    torch.manual_seed(0)
    codes = bench.codes()
    shape = (1, *bench.network.input_shape[1:])
    model = AlignedDecoder(
        codes.shape[1], shape, settings.align_hidden, settings.align_dropout, torch.zeros(shape)
    )
    model.centre.copy_(codes.mean(0))
    model.scale.copy_((codes - model.centre).square().mean().sqrt())
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.align_rate)
    total = settings.align_epochs * math.ceil(len(codes) / settings.align_batch)
    done = 0
    for _ in range(settings.align_epochs):
        for part in torch.split(torch.randperm(len(codes)), settings.align_batch):
            for group in optimizer.param_groups:
                group["lr"] = settings.align_rate * 0.5 * (1 + math.cos(math.pi * done / total))
            wanted = goal(bench.segments[1][part])
            error = (model.spectrogram(codes[part]) - wanted).square().mean()
            optimizer.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += 1
    model.eval().requires_grad_(False)
    return model.spectrogram


def nearest(bench: Bench) -> Tensor:
    """Return the training segments whose standardised activations are the nearest."""
    codes, target = bench.codes(), bench.target.flatten(1)
    spread = codes.std(0) + 1e-3 * codes.std()
    chosen = torch.cdist(target / spread, codes / spread).argmin(1)
    return bench.segments[1][chosen]


def linear(bench: Bench) -> Tensor:
    """Return what ridge regression from the activations to the waveform gives, Wiener's answer."""
    codes = bench.codes()
    centre = codes.mean(0)
    x = codes - centre
    gram = x.t() @ x
    gram.diagonal().add_(0.1 * float(gram.diagonal().mean()))
    waveforms = bench.segments[1]
    weights: Tensor = torch.linalg.solve(gram, x.t() @ waveforms)
    return (bench.target.flatten(1) - centre) @ weights


def aligned_mean(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean of waveforms, the second delayed to fit the first, both of norm 1."""
    length = 2 * first.shape[1]
    spectrum = torch.fft.rfft(second, length).conj() * torch.fft.rfft(first, length)
    lags = torch.fft.irfft(spectrum, length).argmax(1)
    rows = [
        torch.roll(torch.nn.functional.pad(wave, (0, length - len(wave))), int(lag))[: len(wave)]
        for wave, lag in zip(second, lags, strict=True)
    ]
    moved = torch.stack(rows)
    return nn.functional.normalize(first) + nn.functional.normalize(moved)


def measure(bench: Bench) -> None:
    """Print the rows of one layer."""
    options, stft, count = bench.options, bench.stft, len(bench.inputs)
    seeds = list(range(count))
    generator = torch.Generator().manual_seed(0)
    quiet = 0.3 * float(bench.waveforms.square().mean().sqrt())

    began = time.perf_counter()
    settings = replace(bench.settings, steps=options.steps, rate=3e-2)
    found = bp(Problem(bench.network, bench.layer, bench.target, seeds, 0.3), None, settings)
    bench.row("bp, the paper's", bench.heard(found.x), began)

    began = time.perf_counter()
    start = 0.05 * torch.randn(bench.inputs.shape, generator=generator)
    bench.row("descent by Adam", descend(bench, start, of_waveform=False), began)
    began = time.perf_counter()
    bench.row(
        "the same, total variation", descend(bench, start, of_waveform=False, variation=1e-3), began
    )
    began = time.perf_counter()
    spread = bench.codes().std(0).view(bench.target.shape[1:])
    weight = 1 / (spread + 0.1 * spread.mean())
    bench.row(
        "the same, every unit over its deviation",
        descend(bench, start, of_waveform=False, weight=weight),
        began,
    )
    began = time.perf_counter()
    starts = quiet * torch.randn(count * options.starts, stft.samples, generator=generator)
    several = descend(bench, starts, of_waveform=True).view(count, options.starts, -1)
    bench.row("descent of the waveform", several[:, 0], began)
    apart = torch.stack(
        [bench.mismatch(real_part(stft, w) - bench.mean) for w in several.unbind(1)], 1
    )
    chosen = several[torch.arange(count), apart.argmin(1)]
    bench.row(f"the best by mismatch of {options.starts} starts", chosen, began)

    began = time.perf_counter()
    bench.row("the nearest training segment", nearest(bench), began)
    began = time.perf_counter()
    bench.row("linear regression of the waveform", linear(bench), began)
    began = time.perf_counter()
    wave = fit(bench, lambda w: real_part(stft, w) * 10)
    bench.row(
        "decoder, squared error of the real part",
        inverse_real(stft, wave(bench.target)[:, 0]),
        began,
    )
    began = time.perf_counter()
    logs = fit(bench, lambda w: transform(stft, w).abs().clamp(min=FLOOR).log()[:, None])
    modulus = logs(bench.target)[:, 0].exp()
    bench.row("decoder of the log modulus, Griffin-Lim", griffin_lim(stft, modulus, seeds), began)

    began = time.perf_counter()
    fixed = trained(bench, align_lags=0)
    bench.row("align without freedom of delay", bench.heard(fixed(bench.target)), began)
    began = time.perf_counter()
    free = bench.heard(trained(bench)(bench.target))
    bench.row("align", free, began)
    phase = torch.sgn(transform(stft, free))
    both = griffin_lim(stft, modulus, seeds, start=phase)
    bench.row("the log modulus, Griffin-Lim from align's phase", both, began)
    bench.row(
        "the log modulus with align's phase",
        griffin_lim(stft, modulus, seeds, start=phase, iterations=1),
        began,
    )
    bench.row("align, then descent of the waveform", descend(bench, free, of_waveform=True), began)
    began = time.perf_counter()
    second = bench.heard(trained(bench, seed=1)(bench.target))
    bench.row("align, the mean of two, one delayed", aligned_mean(free, second), began)


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--layers", default="6,9,12")
    parser.add_argument("--items", type=int, default=96)
    parser.add_argument("--train", type=int, default=8000, help="training segments")
    parser.add_argument("--epochs", type=int, default=2, help="passes over them")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.items} test items, {options.train} training segments, {options.epochs} passes")
    print("layer                                 mxcorr (95 %)   correlation  LSD  mismatch  time")
    for layer in (int(number) for number in options.layers.split(",")):
        measure(Bench(options, layer))


if __name__ == "__main__":
    main()
