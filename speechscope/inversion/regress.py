"""A learned inverse: sounds from the activity of any layer of any network.

What a layer knows of a sound is how loud its bands of frequencies are over time, how far it is
voiced and how high, so that is what is learned from the activity. A source of that pitch, pulses
in noise, is given these bands (Dudley 1939; Griffin & Lim 1984 settle the phases), and the waveform
then descends on the mismatch of its own activity, held to what was learned.

A regression from activity to image is what Dosovitskiy & Brox 2016 invert networks by; source,
bands and descent on the waveform are this project's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechscope.errors import ArtifactError, UsageProblem
from speechscope.features.filterbanks import filters
from speechscope.features.stft import Stft, like
from speechscope.inversion.analysis import Analysis, OfSound
from speechscope.inversion.problem import Problem, Reconstruction, Restorer, at_most
from speechscope.inversion.sound import griffin_lim, overlap_add, transform
from speechscope.networks.layers import Layered
from speechscope.registry import INVERSION
from speechscope.store.checkpoint import Checkpoint
from speechscope.work.device import normal, seeded, sent
from speechscope.work.progress import Bar
from speechscope.work.tasks import mixed

if TYPE_CHECKING:
    from speechscope.inversion.source import TrainingPool
    from speechscope.stages.invert import Invert
    from speechscope.stages.shared import Regressing

CODES, SPECTRA = 400, 256
"""Principal components kept of the activity and of the bands (chosen)."""
SAMPLED = 2048
"""Training items the components are those of (chosen)."""
HIDDEN, BATCH, RATE, DROPOUT = 512, 128, 1e-3, 0.2
FRAME, HOP = 0.025, 0.005
"""Of the transform [s] (chosen)."""
BANDS = 64
"""Mel bands whose power is learned (chosen)."""
LEAST = 1e-20
"""Added to what is divided by."""
FLOOR = 1e-5
"""Added to a power before the logarithm (chosen: a magnitude 50 dB below full scale)."""
SPEEDS, ENOUGH = (1.0, 0.93, 1.07), 1 << 15
"""Speeds at which training items are heard: the first where there are `ENOUGH` of them, two or
three where there are half as many or a third (chosen: other voices than there are)."""
LOWEST, HIGHEST = 75.0, 500.0
"""Pitch that is looked for [Hz] (chosen)."""
PERIODS, OCTAVE_COST, VOICED, LOUD = 3, 0.01, 0.45, 0.01
"""Periods of the lowest pitch in a frame, what an octave of it costs, from what strength on a
frame is voiced (Boersma 1993's), and from what share of the loudest one's power it counts."""
MIDDLE, WEIGHT = 7.1, (7.0, 3.0)
"""Pitch is learned as octaves above 2^`MIDDLE` Hz; how much an octave and the whole strength weigh
beside a component (chosen)."""
HELD, HELD_MOST = 0.1, 2048
"""Share of the training items, of speakers of their own where there are several, whose errors are
what draws are made of, and how many are kept at most (chosen)."""
FEWEST = 5
"""Speakers from which on one may be held out (chosen)."""
FARTHEST = 10.0
"""Deviations a unit's activity counts at most: one that training items hardly moved says nothing
of how far (chosen)."""
AROUND = 16
"""Nearest of them whose errors say how large one is here (chosen)."""
ITERATIONS = 30
"""Griffin-Lim's; it begins with phases of the source (chosen)."""
STEP, FAITH = 0.1, 0.5
"""Of the descent: Adam's rate, over the size of a bin, which falls by half a cosine, and the
weight of the learned bands (chosen on training speakers)."""


class Principal(nn.Module):
    """The first principal components of some points, each scaled by one number for all.

    Parameters
    ----------
    points
        (n, d), of which they are.
    most
        How many at most.
    standardised
        Whether every value has its deviation divided out first.
    """

    mean: Tensor
    scale: Tensor
    basis: Tensor
    size: Tensor
    limit: Tensor

    def __init__(self, points: Tensor, most: int, *, standardised: bool) -> None:
        super().__init__()
        points = points.double().cpu()  # where signs of components are the same for every device
        mean = points.mean(0)
        scale = torch.ones_like(mean)
        if standardised:
            scale = points.std(0, correction=0)
            scale[scale < 1e-6 * scale.max()] = torch.inf
        points = (points - mean) / scale
        wide = points.shape[1] > points.shape[0]
        values, vectors = torch.linalg.eigh(points @ points.T if wide else points.T @ points)
        kept = (values > 1e-9 * values[-1]).nonzero()[-most:, 0].flip(0)
        basis = vectors[:, kept]
        if wide:
            basis = points.T @ basis / values[kept].sqrt()
        size = (values[kept].sum() / len(points) / max(1, len(kept))).sqrt()
        limit = mean.new_tensor(FARTHEST if standardised else torch.inf)
        held = {"mean": mean, "scale": scale, "basis": basis, "size": size, "limit": limit}
        for name, value in held.items():
            self.register_buffer(name, value.float())

    @classmethod
    def sized(cls, values: int, components: int) -> "Principal":
        """Return one of so many values and components, all 0, to load into."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        shapes = {"mean": (values,), "scale": (values,), "basis": (values, components)}
        for name, shape in {**shapes, "size": (), "limit": ()}.items():
            made.register_buffer(name, torch.zeros(shape))
        return made

    def forward(self, points: Tensor) -> Tensor:
        """Return the components (N, k) of points (N, d)."""
        standard = ((points - self.mean) / self.scale).clamp(-self.limit, self.limit)
        found: Tensor = standard @ self.basis / self.size
        return found

    def points(self, components: Tensor) -> Tensor:
        """Return the points (N, d) of components (N, k)."""
        found: Tensor = components * self.size @ self.basis.T
        return found + self.mean


class Inverse(nn.Module):
    """From the activity of a layer to the bands, the pitch and the voicing of a sound.

    Parameters
    ----------
    codes, spectra
        What reduces activity and log powers of bands.
    stft
        Of the bands.
    """

    held_codes: Tensor
    held_sizes: Tensor
    spread: Tensor

    def __init__(self, codes: Principal, spectra: Principal, stft: Stft) -> None:
        super().__init__()
        self.codes, self.spectra, self.stft = codes, spectra, stft
        code, spectrum = (part.basis.shape[1] for part in (codes, spectra))
        self.inner = nn.Linear(code, HIDDEN)
        self.middle = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
        self.outer = nn.Linear(HIDDEN, spectrum + 2)

    def erring(self, codes: Tensor, errors: Tensor) -> None:
        """Tell it the errors (n, k) it makes, by codes (n, c) it has not trained on.

        Their covariance, shrunk as Ledoit & Wolf (2004) do, and by how much the square of each is
        more than that, per component.
        """
        from sklearn.covariance import ledoit_wolf

        values = errors.double().cpu().numpy()
        covariance = torch.from_numpy(ledoit_wolf(values, assume_centered=True)[0])
        spread = torch.linalg.cholesky(covariance).to(errors)
        apart = torch.linalg.solve_triangular(spread, errors.T, upper=False)
        self.register_buffer("held_codes", codes)
        self.register_buffer("held_sizes", apart.square().mean(0))
        self.register_buffer("spread", spread)

    def drawn(self, codes: Tensor, seeds: Sequence[int]) -> Tensor:
        """Return errors (N, k) such as it may make of codes (N, c), each from its own seed.

        ε = s L z with L Lᵀ the covariance of held-out errors, z normal, and s² the mean size of
        those of the `AROUND` nearest codes.
        """
        near = torch.cdist(codes, self.held_codes)
        nearest = near.topk(min(AROUND, near.shape[1]), largest=False).indices
        size = self.held_sizes[nearest].mean(1).sqrt()
        z = sent(normal(seeds, self.spread.shape[:1]), codes.device)
        found: Tensor = size[:, None] * (z @ self.spread.T)
        return found

    @classmethod
    def of(cls, state: Mapping[str, Tensor], stft: Stft) -> "Inverse":
        """Return the inverse with this state."""
        codes, spectra = (
            Principal.sized(*state[f"{name}.basis"].shape) for name in ("codes", "spectra")
        )
        made = cls(codes, spectra, stft)
        for name in ("held_codes", "held_sizes", "spread"):
            made.register_buffer(name, state[name])
        made.load_state_dict(dict(state))
        return made.eval().requires_grad_(False)

    def forward(self, code: Tensor) -> Tensor:
        """Return what `heard` is of sounds, (N, k + 2), from components of activity (N, c)."""
        hidden = self.inner(code)
        for first, second in zip(self.middle[::2], self.middle[1::2], strict=True):
            hidden = hidden + second(self._some(torch.relu(first(torch.relu(hidden)))))
        out: Tensor = self.outer(self._some(torch.relu(hidden)))
        return out

    def _some(self, hidden: Tensor) -> Tensor:
        """Leave some units out in training; drawn on the CPU, the same ones on every device."""
        if not self.training:
            return hidden
        left = 1 - DROPOUT
        return hidden * sent(torch.empty(hidden.shape).bernoulli_(left).div_(left), hidden.device)

    def heard(self, waveforms: Tensor) -> Tensor:
        """Return what is learned of waveforms: components of bands, pitch, strength, (N, k + 2).

        The pitch is NaN where there is none.
        """
        log = log_bands(self.stft, waveforms).flatten(1)
        pitch, strength = voice(waveforms, self.stft.rate)
        octaves = WEIGHT[0] * (pitch.log2() - MIDDLE)
        return torch.cat([self.spectra(log), octaves[:, None], WEIGHT[1] * strength[:, None]], 1)

    def bands(self, found: Tensor) -> Tensor:
        """Return the log powers (N, frames, bands) of what `forward` gives."""
        return self.spectra.points(found[:, :-2]).view(len(found), self.stft.frames, BANDS)

    def sounds(self, activity: Tensor, seeds: Sequence[int], *, draw: bool = False) -> Tensor:
        """Return waveforms (N, samples) for activity (N, …), noise of each from its own seed.

        Where asked a draw from what the activity leaves open: with an error as large as there are.
        """
        code = self.codes(activity.flatten(1).float())
        found = self(code)
        if draw:
            found = found + self.drawn(code, seeds)
        pitch = 2 ** (found[:, -2] / WEIGHT[0] + MIDDLE)
        strength = (found[:, -1] / WEIGHT[1]).clamp(0, 1)
        noise = normal([mixed(seed, 1) for seed in seeds], (self.stft.samples,))
        made = source(pitch, strength, sent(noise, code.device), self.stft.rate)
        spectra = transform(self.stft, made)
        return filtered(self.stft, spectra, self.bands(found))


def stft_for(samples: int, rate: int) -> Stft:
    """Return a transform that shows formants, and the harmonics of most voices."""
    window, hop = min(samples, round(FRAME * rate)), max(1, round(HOP * rate))
    return Stft(samples, window, max(0, window - hop), 1 << (window - 1).bit_length(), rate)


def log_bands(stft: Stft, waveforms: Tensor) -> Tensor:
    """Return log(power + `FLOOR`) of mel bands, (N, frames, bands), differentiably."""
    return torch.log(_powers(stft, transform(stft, waveforms)) + FLOOR)


def _powers(stft: Stft, spectra: Tensor) -> Tensor:
    """Return the power of mel bands (N, frames, bands) of transforms (N, bins, frames)."""
    power = (spectra.real.square() + spectra.imag.square()).transpose(1, 2)
    bands: Tensor = power @ like(filters(BANDS, stft.points, stft.rate), power)
    return bands


def sizes(stft: Stft, log: Tensor) -> Tensor:
    """Return the modulus of bins (N, bins, frames) where bands have log powers (N, frames, bands).

    The power of a band is even over its bins; none is below `FLOOR`.
    """
    bank = like(filters(BANDS, stft.points, stft.rate), log)
    power = _by_bin(bank, log.exp() / bank.sum(0).clamp(min=LEAST))
    return power.clamp(min=FLOOR).sqrt().transpose(1, 2)


def _by_bin(bank: Tensor, bands: Tensor) -> Tensor:
    """Return the mean of what its bands have, by its share in each, of every bin; 0 without any."""
    out: Tensor = bands @ (bank / bank.sum(1, keepdim=True).clamp(min=1e-9)).T
    return out


def filtered(stft: Stft, spectra: Tensor, log: Tensor) -> Tensor:
    """Return waveforms (N, samples) of a source whose bands have given log powers.

    A bin of the source is brought to what its bands are, by its share in each; phases begin with
    the source's.

    Parameters
    ----------
    spectra : (N, bins, frames)
        The transform of the source.
    log : (N, frames, bands)
        As `log_bands` gives.
    """
    have, bank = _powers(stft, spectra), like(filters(BANDS, stft.points, stft.rate), log)
    wanted = (log.exp() - FLOOR).clamp(min=1e-4 * FLOOR)
    change = torch.log(wanted / (have + 1e-6 * have.mean((1, 2), keepdim=True) + LEAST))
    gain = (_by_bin(bank, change) / 2).exp() * (bank.sum(1) > 0)
    modulus = spectra.abs() * gain.transpose(1, 2)
    return griffin_lim(stft, modulus, (), start=torch.sgn(spectra), iterations=ITERATIONS)


def source(pitch: Tensor, strength: Tensor, noise: Tensor, rate: int) -> Tensor:
    """Return pulses of a pitch [Hz] in noise (N, samples), with a power of 1.

        √a (sin((2K + 1) φ / 2) / sin(φ / 2) − 1) / √(2K) + √(1 − a) noise

    with φ the phase of the pitch, K the harmonics below half the sampling rate, and a the root of
    the strength: pulses whose noise is even over all frequencies sound noisier than voices are.
    """
    pitch = pitch.double().clamp(LOWEST, HIGHEST)[:, None]
    half = torch.pi * pitch / rate * torch.arange(noise.shape[1], device=noise.device)
    count = (rate / 2 / pitch).floor()
    slope = torch.sin(half)
    flat = slope.abs() < 1e-9
    ratio = torch.sin((2 * count + 1) * half) / torch.where(flat, 1.0, slope)
    pulses = (torch.where(flat, 2 * count + 1, ratio) - 1) / (2 * count).sqrt()
    share = strength.sqrt()[:, None]
    made: Tensor = share.sqrt() * pulses.float() + (1 - share).sqrt() * noise
    return made


def voice(waveforms: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """Return the F0 of waveforms (N, samples) [Hz], NaN where there is none, and its strength.

    Frames as long as three periods of `LOWEST`; the strength of a frame is the highest peak of

        r[τ] = (Σ x[n] x[n + τ] / Σ x[n]²) / (Σ w[n] w[n + τ] / Σ w[n]²)

    with w the window, higher pitches preferred a little. Of an item the strongest of its loud
    frames, and the median F0 of those that are voiced (Boersma 1993).
    """
    size = min(waveforms.shape[1], round(PERIODS / LOWEST * rate))
    window = torch.hann_window(size, device=waveforms.device)
    frames = waveforms.unfold(1, size, max(1, size // 4))
    frames = (frames - frames.mean(2, keepdim=True)) * window
    points = 1 << (2 * size - 1).bit_length()

    def correlated(values: Tensor) -> Tensor:
        found = torch.fft.irfft(torch.fft.rfft(values, points).abs().square(), points)[..., :size]
        scaled: Tensor = found / (found[..., :1] + LEAST)
        return scaled

    first, last = max(2, int(rate / HIGHEST)), min(size - 2, int(rate / LOWEST))
    if last < first:  # too short for a pitch
        return torch.full_like(waveforms[:, 0], torch.nan), torch.zeros_like(waveforms[:, 0])
    r = correlated(frames)[..., : last + 2] / correlated(window)[: last + 2].clamp(min=1e-3)
    middle = r[..., first : last + 1]
    peak = (middle >= r[..., first - 1 : last]) & (middle > r[..., first + 1 : last + 2])
    lags = torch.arange(first, last + 1, device=waveforms.device)
    cost = OCTAVE_COST * torch.log2(lags * (LOWEST / rate))
    at = torch.where(peak, middle - cost, -1.0).argmax(2, keepdim=True)
    power = frames.square().sum(2)
    loud = power > LOUD * power.amax(1, keepdim=True)
    strength = torch.where(loud & peak.any(2), middle.gather(2, at)[..., 0], 0.0).clamp(0, 1)
    hertz = torch.where(strength > VOICED, rate / lags[at[..., 0]], torch.nan)
    return hertz.nanmedian(1).values, strength.amax(1)


def at_speed(waveforms: Tensor, speed: float) -> Tensor:
    """Return waveforms (N, samples) played at a speed about their middle, zeros beyond their ends.

    Linear between samples of four times the rate.
    """
    if speed == 1:
        return waveforms
    samples = waveforms.shape[1]
    fine = torch.fft.irfft(torch.fft.rfft(waveforms), 4 * samples) * 4
    place = (torch.arange(samples, device=waveforms.device) - samples // 2) * speed
    place = 4 * (place + samples // 2)
    there = (place >= 0) & (place <= 4 * (samples - 1))
    before = place.clamp(0, 4 * (samples - 1) - 1).floor()
    low, high = fine[:, before.long()], fine[:, before.long() + 1]
    return torch.where(there, low + (high - low) * (place - before), 0.0)


def train_inverses(
    network: Layered,
    layers: Sequence[int],
    pool: "TrainingPool",
    analysis: Analysis,
    settings: "Regressing",
    progress: Bar | None = None,
    done: Callable[[int, Inverse], None] | None = None,
) -> dict[int, Inverse]:
    """Train an inverse for each layer (a number) on the mean squared error of what is `heard`.

    Training items pass through the network once a speed; what is kept of each are its components.
    Adam's rate falls by half a cosine.

    Parameters
    ----------
    pool
        Training items.
    analysis
        What makes inputs of them at another speed.
    progress
        Called with (passes done, passes in all), each of all items.
    done
        Called with every layer that is trained, and its inverse.
    """
    device = next(network.parameters()).device
    count, random = len(pool.labels), torch.Generator().manual_seed(settings.seed)
    some = np.sort(torch.randperm(count, generator=random).numpy()[:SAMPLED])
    sampled = list(_passed(network, layers, pool, some))
    codes = {n: torch.cat([activity[n] for _, activity in sampled]) for n in layers}
    stft = stft_for(sampled[0][0].shape[1], pool.rate)
    logs = torch.cat([log_bands(stft, waveforms).flatten(1) for waveforms, _ in sampled])
    spectra = Principal(logs, SPECTRA, standardised=False)
    inverses = {}
    for layer in layers:
        reduced = Principal(codes[layer], CODES, standardised=True)
        with seeded(mixed(settings.seed, layer)):  # whichever others are asked for
            inverses[layer] = Inverse(reduced, spectra, stft).to(device)
    del sampled, codes, logs
    wanted, known = _reduced(network, inverses, pool, analysis)
    parts = _held_out(pool.speakers, settings.seed)
    for number, (layer, inverse) in enumerate(inverses.items()):
        report = _Passes(progress, number, len(layers), settings.regress_epochs)
        with seeded(mixed(settings.seed, layer)):
            _learn(inverse, known[layer], wanted, parts, report)
        if done is not None:
            done(layer, inverse)
    return inverses


def inverse_values(inverses: Mapping[int, Inverse]) -> dict[str, Any]:
    """Return what ``inverse.pt`` holds of inverses by layer, beside scores and state."""
    return {
        "stft": {layer: asdict(inverse.stft) for layer, inverse in inverses.items()},
        "weights": {layer: inverse.state_dict() for layer, inverse in inverses.items()},
    }


def inverses_of(values: Mapping[str, Any]) -> dict[int, Inverse]:
    """Return the inverses that `inverse_values` was made of."""
    return {
        layer: Inverse.of(state, Stft(**values["stft"][layer]))
        for layer, state in values["weights"].items()
    }


def load_inverses(path: Path, network: Layered) -> dict[int, Restorer]:
    """Read the inverses of ``inverse.pt``, by layer, on the network's device.

    Raises
    ------
    ArtifactError
        It is missing, damaged, or does not fit the network.
    """
    checkpoint = Checkpoint(path, "inverse")
    device = next(network.parameters()).device
    try:
        found = inverses_of(checkpoint.values)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"{path}: holds no inverses that can be read ({reason}); make it again "
            "(speechscope decode-train --method regress)"
        ) from error
    return {layer: inverse.to(device) for layer, inverse in found.items()}


def measure(
    network: Layered, inverses: Mapping[int, Inverse], pool: "TrainingPool"
) -> list[dict[str, Any]]:
    """Return how far learned bands are from those of items not trained on, a row a layer.

    ``error``, and of the ``mean`` of training items: root mean square of the difference of log
    powers [dB], an item each (N,), with ``speaker``.
    """
    decibels = 10 / np.log(10)
    rows: dict[int, list[tuple[Tensor, ...]]] = {layer: [] for layer in inverses}
    batches = _passed(network, list(inverses), pool, np.arange(len(pool.labels)))
    for waveforms, activity in batches:
        for layer, inverse in inverses.items():
            found = inverse.bands(inverse(inverse.codes(activity[layer]))).flatten(1)
            true = log_bands(inverse.stft, waveforms).flatten(1)
            apart = [true - found, true - inverse.spectra.mean]
            size = [one.square().mean(1).sqrt().cpu() * decibels for one in apart]
            rows[layer].append(tuple(size))
    who = torch.from_numpy(pool.speakers)
    return [
        {
            "layer": layer,
            **dict(zip(("error", "mean"), map(torch.cat, zip(*parts, strict=True)), strict=True)),
            "speaker": who,
        }
        for layer, parts in rows.items()
    ]  # fmt: skip


def _held_out(
    speakers: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of items to train on, and of others, of speakers of their own."""
    rng, names = np.random.default_rng([seed, 0x4E1D]), np.unique(speakers)
    few = len(names) < FEWEST
    groups = np.arange(len(speakers)) if few else speakers
    order = rng.permutation(np.unique(groups))
    held = np.isin(groups, order[: max(1, round(HELD * len(order)))])
    return np.flatnonzero(~held), rng.permutation(np.flatnonzero(held))[:HELD_MOST]


@dataclass(frozen=True)
class _Passes:
    """Tells how many passes are done, of so many for each of several layers."""

    progress: Bar | None
    number: int
    layers: int
    passes: int

    def __iter__(self) -> Iterator[int]:
        """Yield each pass of this layer; what was done before is told after it."""
        for done in range(self.passes):
            yield done
            if self.progress is not None:
                self.progress(self.number * self.passes + done + 1, self.layers * self.passes)

    def say(self, error: Tensor) -> None:
        """Say the error of the last batch; a device is waited for, once a pass."""
        if self.progress is not None:
            self.progress.said = f"error {float(error.detach()):.3g}"


def _passed(
    network: Layered,
    layers: Sequence[int],
    pool: "TrainingPool",
    places: NDArray[np.int64],
    analysis: Analysis | None = None,
    speed: float = 1.0,
) -> Iterator[tuple[Tensor, dict[int, Tensor]]]:
    """Yield waveforms (B, samples) of a batch, and by layer the activity (B, units) of them.

    At another speed than 1 inputs are made by an analysis.
    """
    device = next(network.parameters()).device
    for part in np.array_split(places, -(-len(places) // BATCH)):
        waveforms = at_speed(sent(pool.waveforms(part), device), speed)
        with torch.no_grad():
            inputs = sent(pool.inputs(part), device) if analysis is None else analysis(waveforms)
            found = network.activations(inputs, layers)
        yield waveforms, {layer: found[layer].flatten(1).float() for layer in layers}


def _reduced(
    network: Layered, inverses: dict[int, Inverse], pool: "TrainingPool", analysis: Analysis
) -> tuple[Tensor, dict[int, Tensor]]:
    """Return what is heard of all items at every speed, and the components of their activity."""
    count, first = len(pool.labels), next(iter(inverses.values()))
    speeds = SPEEDS[: max(1, ENOUGH // count)]
    wanted: list[Tensor] = []
    known: dict[int, list[Tensor]] = {layer: [] for layer in inverses}
    for speed in speeds:
        made = None if speed == 1 else analysis
        batches = _passed(network, list(inverses), pool, np.arange(count), made, speed)
        for waveforms, activity in batches:
            wanted.append(first.heard(waveforms))
            for layer, inverse in inverses.items():
                known[layer].append(inverse.codes(activity[layer]))
    shape = (len(speeds), count, -1)
    return torch.cat(wanted).view(shape), {n: torch.cat(c).view(shape) for n, c in known.items()}


def _learn(
    inverse: Inverse,
    codes: Tensor,
    wanted: Tensor,
    parts: tuple[NDArray[np.int64], NDArray[np.int64]],
    passes: _Passes,
) -> None:
    """Train an inverse on components of activity and on what is heard, (speeds, N, k) each.

    Parameters
    ----------
    parts
        Places of items to train on, and of those that tell the errors it makes.
    """
    held, theirs = codes[0, parts[1]], wanted[0, parts[1]]
    codes, wanted = codes[:, parts[0]].flatten(0, 1), wanted[:, parts[0]].flatten(0, 1)
    optimizer = torch.optim.AdamW(inverse.train().parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, passes.passes))
    for _ in passes:
        for items in torch.split(torch.randperm(len(codes)), BATCH):
            items = sent(items, codes.device)
            error = (inverse(codes[items]) - wanted[items]).nan_to_num(0.0)
            error = error.square().sum(1).mean()
            error.backward()
            optimizer.step()
            optimizer.zero_grad()
        schedule.step()
        passes.say(error)
    inverse.eval().requires_grad_(False)
    errors = theirs - inverse(held)
    voiced = errors.isfinite().double().mean(0).clamp(min=1e-9)  # of those that have a pitch
    inverse.erring(held, errors.nan_to_num(0.0) / voiced.sqrt().to(errors))


@INVERSION.register("regress")
@at_most(lambda settings: settings.regress_steps)
def regress(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Return the sound that a trained inverse answers, then led to the activity that is wanted.

    The descent is Adam's, on ‖Y* − Y‖² / ‖Y*‖² + `FAITH` · mean |L − L₀|, with Y the activity and L
    the `log_bands` of the waveform, and L₀ those of the answer. It moves bins of the transform over
    their `sizes`, so that what is quiet is moved by little.

    Raises
    ------
    UsageProblem
        The problem has no trained inverse, or no analysis.
    """
    inverse, analysis = problem.restorers.get("regress"), problem.analysis
    if not isinstance(inverse, Inverse) or analysis is None:
        raise UsageProblem(f"layer {problem.layer}: no inverse was trained for it")
    with torch.no_grad():
        seeds = [mixed(seed, problem.draw) for seed in problem.seeds]
        found = inverse.sounds(problem.target, seeds, draw=problem.draw > 0)
        first = log_bands(inverse.stft, found)
        level = sizes(inverse.stft, first)
        scaled = torch.view_as_real(transform(inverse.stft, found) / level).contiguous()
    scaled.requires_grad_()
    optimizer = torch.optim.Adam([scaled], STEP, foreach=False)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.regress_steps or 1)
    objective = OfSound(problem.objective_of_all(l2=0.0), analysis)
    size = problem.target.flatten(1).double().square().sum(1).clamp(min=1e-12)
    history = []
    for step in range(settings.regress_steps + 1):
        sound = overlap_add(inverse.stft, torch.view_as_complex(scaled) * level)
        energy, slope = objective.evaluate(sound.detach()[:, None, None])
        history.append(energy)
        if step < settings.regress_steps:
            apart = (log_bands(inverse.stft, sound) - first).abs().flatten(1).mean(1)
            along = sound * slope.flatten(1) * (2 / size)[:, None].to(slope)
            (scaled.grad,) = torch.autograd.grad(FAITH * apart.sum() + along.sum(), scaled)
            optimizer.step()
            schedule.step()
    answer = sound.detach()
    steps = torch.full((len(answer),), settings.regress_steps, device=answer.device)
    with torch.no_grad():
        return Reconstruction(analysis(answer), torch.stack(history, 1), steps, answer)
