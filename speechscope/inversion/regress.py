"""A learned inverse: sounds from the activity of any layer of any network.

What a layer knows of a sound is mostly its short-time spectrum, so that is what is learned: the log
magnitude, from the activity and from the spectrum of a training item with similar activity. Phases
the layer does not know are borrowed from that item (Griffin & Lim 1984), and the waveform then
descends on the mismatch of its own activity, held to the spectrum that was learned.

A regression from activity to image is what Dosovitskiy & Brox 2016 invert networks by; example and
descent on the waveform are this project's.
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
from speechscope.features.stft import Stft
from speechscope.inversion.analysis import OfSound
from speechscope.inversion.problem import Problem, Reconstruction, Restorer, at_most
from speechscope.inversion.sound import griffin_lim, transform
from speechscope.networks.layers import Layered
from speechscope.registry import INVERSION
from speechscope.store.checkpoint import Checkpoint
from speechscope.work.device import seeded, sent
from speechscope.work.progress import Bar
from speechscope.work.tasks import mixed

if TYPE_CHECKING:
    from speechscope.inversion.source import TrainingPool
    from speechscope.stages.invert import Invert
    from speechscope.stages.shared import Regressing

CODES, SPECTRA = 400, 256
"""Principal components kept of the activity and of the log magnitudes (chosen)."""
SAMPLED = 2048
"""Training items the components are those of (chosen)."""
EXAMPLES = 4096
"""Training items an example is looked for among, at most: training stays linear in items."""
CLOSE = 4
"""An example is a random one of so many nearest in training, else the nearest (chosen)."""
HIDDEN, BATCH, RATE, DROPOUT = 512, 128, 1e-3, 0.2
FRAME, HOP = 0.025, 0.005
"""Of the log magnitudes [s] (chosen)."""
LEAST = 1e-20
"""Added to a power under a root, whose slope at 0 is none."""
FLOOR = 3e-3
"""Added to a magnitude before the logarithm (chosen: −50 dB of full scale)."""
QUEFRENCY = 2e-3
"""Where the envelope of a spectrum, which is learned, ends and the fine structure of voices, which
is the example's, begins [s] (chosen: voices of 500 Hz)."""
HELD, HELD_MOST = 0.1, 2048
"""Share of the training items, of speakers of their own where there are several, whose errors are
what draws are made of, and how many are kept at most (chosen)."""
FEWEST = 5
"""Speakers from which on one may be held out (chosen)."""
FARTHEST = 10.0
"""Deviations a unit's activity counts at most: one that training items hardly moved says nothing
of how far (chosen)."""
AROUND = 16
"""Nearest of them whose errors say how large one is here; and the nearest examples that a draw has
a random one of (chosen)."""
ITERATIONS = 30
"""Griffin-Lim's; it begins with phases of speech (chosen)."""
STEP, FAITH = 7e-4, 3.0
"""Of the descent: Adam's rate, and the weight of the learned spectrum (chosen)."""


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
    """From the activity of a layer, and an example, to the log magnitude of a sound.

    Parameters
    ----------
    codes, spectra
        What reduces activity and log magnitude.
    stft
        Of the log magnitudes.
    """

    example_codes: Tensor
    example_waveforms: Tensor
    example_speakers: Tensor
    held_codes: Tensor
    held_sizes: Tensor
    spread: Tensor

    def __init__(self, codes: Principal, spectra: Principal, stft: Stft) -> None:
        super().__init__()
        self.codes, self.spectra, self.stft = codes, spectra, stft
        code, spectrum = (part.basis.shape[1] for part in (codes, spectra))
        self.inner = nn.Linear(code + spectrum, HIDDEN)
        self.middle = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
        self.outer = nn.Linear(HIDDEN, spectrum)

    def among(self, codes: Tensor, waveforms: Tensor, speakers: Tensor) -> None:
        """Give it its examples: their codes (n, k), waveforms (n, samples) and speakers (n,)."""
        self.register_buffer("example_codes", codes)
        self.register_buffer("example_waveforms", waveforms)
        self.register_buffer("example_speakers", speakers)

    def erring(self, codes: Tensor, errors: Tensor) -> None:
        """Tell it the errors (n, k) it makes of components, by codes (n, c) it has not trained on.

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
        normal = torch.stack(
            [torch.randn(len(self.spread), generator=torch.Generator().manual_seed(s))
             for s in seeds]
        )  # fmt: skip
        found: Tensor = size[:, None] * (normal.to(self.spread) @ self.spread.T)
        return found

    @classmethod
    def of(cls, state: Mapping[str, Tensor], stft: Stft) -> "Inverse":
        """Return the inverse with this state."""
        codes, spectra = (
            Principal.sized(*state[f"{name}.basis"].shape) for name in ("codes", "spectra")
        )
        made = cls(codes, spectra, stft)
        made.among(*(state[f"example_{name}"] for name in ("codes", "waveforms", "speakers")))
        for name in ("held_codes", "held_sizes", "spread"):
            made.register_buffer(name, state[name])
        made.load_state_dict(dict(state))
        return made.eval().requires_grad_(False)

    def forward(self, code: Tensor, example: Tensor) -> Tensor:
        """Return components of the log magnitude (N, k) from those of activity and of example."""
        hidden = self.inner(torch.cat((code, example), 1))
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

    def nearest(self, codes: Tensor, speakers: Tensor, count: int = 1) -> Tensor:
        """Return the examples (N, count) by other speakers whose codes (N, k) are nearest."""
        apart = torch.cdist(codes, self.example_codes)
        apart[speakers[:, None] == self.example_speakers] = torch.inf
        return apart.topk(min(count, apart.shape[1]), largest=False).indices

    def sounds(self, activity: Tensor, speakers: Tensor, seeds: Sequence[int] = ()) -> Tensor:
        """Return waveforms (N, samples) for activity (N, …): learned spectra, borrowed phases.

        With seeds, one an item, a draw from what the activity leaves open: a random one of the near
        examples, and a spectrum with an error as large as there are.
        """
        code = self.codes(activity.flatten(1).float())
        near = self.nearest(code, speakers, AROUND if seeds else 1)
        place = [seed % near.shape[1] for seed in seeds] or [0] * len(code)
        rows = torch.arange(len(code), device=near.device)
        chosen = near[rows, torch.tensor(place, device=near.device)]
        example = self.example_waveforms[chosen]
        found = self(code, self.spectra(log_magnitude(self.stft, example).flatten(1)))
        if seeds:
            found = found + self.drawn(code, seeds)
        log = self.spectra.points(found).view(len(code), self.stft.bins, self.stft.frames)
        log = with_envelope(log_magnitude(self.stft, example), log, QUEFRENCY * self.stft.rate)
        phase = torch.sgn(transform(self.stft, example))
        wanted = (log.exp() - FLOOR).clamp(min=0)
        return griffin_lim(self.stft, wanted, (), start=phase, iterations=ITERATIONS)


def stft_for(samples: int, rate: int) -> Stft:
    """Return a transform that shows formants, and the harmonics of most voices."""
    window, hop = min(samples, round(FRAME * rate)), max(1, round(HOP * rate))
    return Stft(samples, window, max(0, window - hop), 1 << (window - 1).bit_length(), rate)


def with_envelope(fine: Tensor, smooth: Tensor, quefrency: float) -> Tensor:
    """Return log magnitudes (N, bins, frames) of the one's envelope and the other's fine structure.

    The envelope is what the cepstrum has below a quefrency [samples].
    """
    kept = torch.fft.irfft((smooth - fine).transpose(1, 2), 2 * (fine.shape[1] - 1))
    place = torch.arange(kept.shape[2], device=kept.device)
    low = torch.minimum(place, kept.shape[2] - place) < quefrency
    change: Tensor = torch.fft.rfft(kept * low).real
    return fine + change.transpose(1, 2)


def log_magnitude(stft: Stft, waveforms: Tensor) -> Tensor:
    """Return log(|S| + `FLOOR`), (N, bins, frames), differentiably."""
    spectra = transform(stft, waveforms)
    power = spectra.real.square() + spectra.imag.square()
    return torch.log((power + LEAST).sqrt() + FLOOR)


def train_inverses(
    network: Layered,
    layers: Sequence[int],
    pool: "TrainingPool",
    settings: "Regressing",
    progress: Bar | None = None,
    done: Callable[[int, Inverse], None] | None = None,
) -> dict[int, Inverse]:
    """Train an inverse for each layer (a number) on the mean squared error of log magnitudes.

    Training items pass through the network once; what is kept of each are its components. Adam's
    rate falls by half a cosine.

    Parameters
    ----------
    pool
        Training items; at least two speakers.
    progress
        Called with (passes done, passes in all), each of all items.
    done
        Called with every layer that is trained, and its inverse.

    Raises
    ------
    UsageProblem
        The training items have one speaker: examples are of another.
    """
    if len(np.unique(pool.speakers)) < 2:
        raise UsageProblem("--method regress learns from items of another speaker: there is one")
    device = next(network.parameters()).device
    count, random = len(pool.labels), torch.Generator().manual_seed(settings.seed)
    order = torch.randperm(count, generator=random).numpy()
    waveforms = pool.waveforms(order[:1])
    stft = stft_for(waveforms.shape[1], pool.rate)
    some = np.sort(order[:SAMPLED])
    logs, codes = _seen(network, layers, pool, some, stft, device)
    spectra = Principal(logs, SPECTRA, standardised=False).to(device)
    inverses = {}
    for layer in layers:
        reduced = Principal(codes[layer], CODES, standardised=True).to(device)
        with seeded(mixed(settings.seed, layer)):  # whichever others are asked for
            inverses[layer] = Inverse(reduced, spectra, stft).to(device)
    del logs, codes
    wanted, known = _reduced(network, inverses, pool, spectra, stft, device)
    speakers = sent(pool.speakers, device)
    examples = np.sort(order[:EXAMPLES])
    places, heard = sent(examples, device), sent(pool.waveforms(examples), device)
    parts = _held_out(pool.speakers, settings.seed)
    for number, (layer, inverse) in enumerate(inverses.items()):
        inverse.among(known[layer][places], heard, speakers[places])
        report = _Passes(progress, number, len(layers), settings.regress_epochs)
        with seeded(mixed(settings.seed, layer)):
            _learn(inverse, known[layer], wanted, wanted[places], speakers, parts, report)
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
        raise ArtifactError(f"{path}: holds no inverses that can be read ({reason})") from error
    return {layer: inverse.to(device) for layer, inverse in found.items()}


def measure(
    network: Layered, inverses: Mapping[int, Inverse], pool: "TrainingPool"
) -> list[dict[str, Any]]:
    """Return how far learned spectra are from those of items not trained on, a row a layer.

    ``error``, that of the ``example`` it is given, and of the ``mean`` spectrum: root mean square
    of the difference of log magnitudes [dB], an item each (N,), with ``speaker``.
    """
    device = next(network.parameters()).device
    decibels = 20 / np.log(10)

    def apart(first: Tensor, second: Tensor) -> Tensor:
        found: Tensor = (first - second).square().mean(1).sqrt().cpu() * decibels
        return found

    rows: dict[int, list[tuple[Tensor, ...]]] = {layer: [] for layer in inverses}
    places = np.arange(len(pool.labels))
    for part in np.array_split(places, -(-len(places) // BATCH)):
        waveforms = sent(pool.waveforms(part), device)
        speakers = sent(pool.speakers[part], device)
        with torch.no_grad():
            held = network.activations(sent(pool.inputs(part), device), list(inverses))
            for layer, inverse in inverses.items():
                code = inverse.codes(held[layer].flatten(1).float())
                near = inverse.example_waveforms[inverse.nearest(code, speakers)[:, 0]]
                example = log_magnitude(inverse.stft, near).flatten(1)
                true = log_magnitude(inverse.stft, waveforms).flatten(1)
                found = inverse.spectra.points(inverse(code, inverse.spectra(example)))
                mean = inverse.spectra.mean.expand_as(true)
                rows[layer].append(tuple(apart(true, one) for one in (found, example, mean)))
    who = torch.from_numpy(pool.speakers)
    return [
        {
            "layer": layer,
            **dict(zip(("error", "example", "mean"), map(torch.cat, zip(*parts, strict=True)),
                       strict=True)),
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


def _seen(
    network: Layered,
    layers: Sequence[int],
    pool: "TrainingPool",
    places: NDArray[np.int64],
    stft: Stft,
    device: torch.device,
) -> tuple[Tensor, dict[int, Tensor]]:
    """Return log magnitudes (N, d), and activity (N, units) by layer, of training items."""
    logs, found = [], []
    for part in np.array_split(places, -(-len(places) // BATCH)):
        with torch.no_grad():
            found.append(network.activations(sent(pool.inputs(part), device), layers))
            logs.append(log_magnitude(stft, sent(pool.waveforms(part), device)).flatten(1))
    codes = {n: torch.cat([part[n].flatten(1).float() for part in found]) for n in layers}
    return torch.cat(logs), codes


def _reduced(
    network: Layered,
    inverses: dict[int, Inverse],
    pool: "TrainingPool",
    spectra: Principal,
    stft: Stft,
    device: torch.device,
) -> tuple[Tensor, dict[int, Tensor]]:
    """Return the components of all items' log magnitudes, and of their activity by layer."""
    wanted: list[Tensor] = []
    known: dict[int, list[Tensor]] = {layer: [] for layer in inverses}
    for first in range(0, len(pool.labels), SAMPLED):
        places = np.arange(first, min(first + SAMPLED, len(pool.labels)))
        logs, codes = _seen(network, list(inverses), pool, places, stft, device)
        wanted.append(spectra(logs))
        for layer, inverse in inverses.items():
            known[layer].append(inverse.codes(codes[layer]))
    return torch.cat(wanted), {layer: torch.cat(parts) for layer, parts in known.items()}


def _learn(
    inverse: Inverse,
    codes: Tensor,
    wanted: Tensor,
    examples: Tensor,
    speakers: Tensor,
    parts: tuple[NDArray[np.int64], NDArray[np.int64]],
    passes: _Passes,
) -> None:
    """Train an inverse on components of activity and of log magnitudes, (N, k) each.

    Parameters
    ----------
    examples
        Components of the examples' log magnitudes.
    parts
        Places of items to train on, and of those that tell the errors it makes.
    """
    held, theirs = codes[parts[1]], wanted[parts[1]]
    others = inverse.nearest(held, speakers[parts[1]])[:, 0]
    codes, wanted, speakers = codes[parts[0]], wanted[parts[0]], speakers[parts[0]]
    near = torch.cat(
        [
            inverse.nearest(part, who, CLOSE)
            for part, who in zip(
                torch.split(codes, SAMPLED), torch.split(speakers, SAMPLED), strict=True
            )
        ]
    )
    optimizer = torch.optim.AdamW(inverse.train().parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, passes.passes))
    for _ in passes:
        for items in torch.split(torch.randperm(len(codes)), BATCH):
            drawn = torch.stack([items, torch.randint(near.shape[1], (len(items),))])
            items, which = sent(drawn, codes.device)
            chosen = near[items, which]
            error = inverse(codes[items], examples[chosen]) - wanted[items]
            error = error.square().sum(1).mean()
            error.backward()
            optimizer.step()
            optimizer.zero_grad()
        schedule.step()
        passes.say(error)
    inverse.eval().requires_grad_(False)
    inverse.erring(held, theirs - inverse(held, examples[others]))


@INVERSION.register("regress")
@at_most(lambda settings: settings.regress_steps)
def regress(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Return the sound that a trained inverse answers, then led to the activity that is wanted.

    The descent is Adam's, on ‖Y* − Y‖² / ‖Y*‖² + `FAITH` · mean |L − L₀|, with Y the activity and L
    the log magnitude of the waveform, and L₀ that of the answer. Of an item's own speaker, where
    that is known, no example is taken.

    Raises
    ------
    UsageProblem
        The problem has no trained inverse, or no analysis.
    """
    inverse, analysis = problem.restorers.get("regress"), problem.analysis
    if not isinstance(inverse, Inverse) or analysis is None:
        raise UsageProblem(f"layer {problem.layer}: no inverse was trained for it")
    speakers = np.full(len(problem.target), -1) if problem.known is None else problem.known.speakers
    with torch.no_grad():
        seeds = [mixed(seed, problem.draw) for seed in problem.seeds] if problem.draw else ()
        who = sent(speakers, problem.target.device)
        found = inverse.sounds(problem.target, who, seeds)
        first = log_magnitude(inverse.stft, found)
    waveforms = found.clone().requires_grad_()
    optimizer = torch.optim.Adam([waveforms], STEP, foreach=False)
    objective = OfSound(problem.objective_of_all(l2=0.0), analysis)
    size = problem.target.flatten(1).double().square().sum(1).clamp(min=1e-12)
    history = []
    for step in range(settings.regress_steps + 1):
        energy, slope = objective.evaluate(waveforms[:, None, None])
        history.append(energy)
        if step < settings.regress_steps:
            apart = (log_magnitude(inverse.stft, waveforms) - first).abs().flatten(1).mean(1)
            (held,) = torch.autograd.grad(FAITH * apart.sum(), waveforms)
            waveforms.grad = held + slope.flatten(1) * (2 / size)[:, None].to(slope)
            optimizer.step()
    answer = waveforms.detach()
    steps = torch.full((len(answer),), settings.regress_steps, device=answer.device)
    with torch.no_grad():
        return Reconstruction(analysis(answer), torch.stack(history, 1), steps, answer)
