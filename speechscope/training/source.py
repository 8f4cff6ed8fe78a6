"""Feeding a corpus to training: labels in memory, inputs read when they are asked for.

Items have one shape and a class; utterances are of any length and have letters.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from speechscope.corpus.letters import encode
from speechscope.corpus.store import Corpus
from speechscope.corpus.utterances import SPLITS
from speechscope.work.device import Lane, noise, sent

CPU = torch.device("cpu")
HELD_BYTES = 1_500_000_000
"""Inputs up to this size are kept in memory; a larger corpus is read again every epoch."""
READ_BYTES = 100_000_000
"""Inputs that are put together at once on the way there."""


FEW_SPEAKERS = 5
"""Training speakers below which recordings are held out in place of speakers (chosen)."""


def held_out(corpus: Corpus, share: float, seed: int) -> NDArray[np.int8]:
    """Return the split of every item (item,), a share of the training speakers moved to dev.

    Of speakers to be recognized, and of fewer than `FEW_SPEAKERS`, recordings are moved. A corpus
    that has a dev split keeps it.

    Parameters
    ----------
    share
        Of the training speakers; 0 moves none, and leaves no dev split.
    seed
        Draws them.
    """
    train, dev = SPLITS.index("train"), SPLITS.index("dev")
    splits = np.array(corpus.splits)
    if not share:
        splits[splits == dev] = len(SPLITS)
        return splits
    if (splits == dev).any():
        return splits
    training = splits == train
    groups = corpus.artifact.read("speaker")
    of_speakers = corpus.config.get("labels") == "speaker"
    if of_speakers or len(np.unique(groups[training])) < FEW_SPEAKERS:
        groups = corpus.artifact.read("utterance")
    names = np.unique(groups[training])
    if len(names) < 2:
        return splits
    drawn = np.random.default_rng([seed, 0xDE7]).permutation(names)
    splits[training & np.isin(groups, drawn[: max(1, round(share * len(names)))])] = dev
    return splits


class CorpusSource:
    """The items of a corpus as training asks for them.

    Parameters
    ----------
    corpus
        The prepared corpus.
    splits
        The splits that will be asked for.
    device
        Where the inputs are wanted.
    hold
        Whether inputs may be kept in memory; a single pass over them has no use for it.
    assigned
        The split of every item, where it is not that of the corpus; see `held_out`.

    Attributes
    ----------
    fold
        Folded class of each class.
    held
        Whether inputs are in memory, where any order of them is as fast as another.
    """

    def __init__(
        self,
        corpus: Corpus,
        splits: Sequence[str],
        device: torch.device,
        *,
        hold: bool = True,
        assigned: NDArray[np.int8] | None = None,
    ) -> None:
        assigned = corpus.splits if assigned is None else assigned
        self._corpus = corpus
        self._device = device
        self._items = {
            split: np.flatnonzero(assigned == index)
            for index, split in enumerate(SPLITS)
            if split in splits
        }
        self.fold = corpus.fold
        size = 4 * int(np.prod(corpus.input_shape)) * len(corpus.splits)
        self.held = hold and size <= HELD_BYTES
        self._kept: dict[str, Tensor] = {}
        self._lock = threading.Lock()

    @property
    def mean(self) -> Tensor:
        """The mean that was removed from every input, (C, F, T)."""
        return sent(self._corpus.mean, self._device)

    def labels(self, split: str) -> NDArray[np.int64]:
        """Return the class of every item of a split, (n,)."""
        return self._corpus.labels[self._items[split]]

    def fetch(self, split: str, positions: NDArray[np.integer]) -> Tensor:
        """Return centred inputs, (n, C, F, T), by position within the split."""
        if not self.held:
            inputs = torch.from_numpy(self._corpus.centred(self._items[split][positions]))
            return sent(inputs, self._device)
        return self.take(split, sent(np.asarray(positions, dtype=np.int64), self._device))

    def take(self, split: str, positions: Tensor) -> Tensor:
        """Return what `fetch` does of inputs that are held, by positions on the device."""
        with self._lock:  # several threads ask
            if split not in self._kept:
                self._kept[split] = self._everything(self._items[split])
        return torch.index_select(self._kept[split], 0, positions)

    def _everything(self, items: NDArray[np.int64]) -> Tensor:
        """Return the inputs of items, put together piece by piece: copies are of pieces alone."""
        held = torch.empty((len(items), *self._corpus.input_shape), device=self._device)
        size = max(READ_BYTES // (4 * int(np.prod(self._corpus.input_shape))), 1)
        for start in range(0, len(items), size):
            part = self._corpus.centred(items[start : start + size])
            held[start : start + size] = torch.from_numpy(part)
        return held


class CorpusUtterances:
    """The utterances of a corpus, their inputs centred; in memory where they fit in `HELD_BYTES`.

    Parameters
    ----------
    corpus
        A corpus of utterances with letters.
    hold
        Whether inputs may be kept in memory; a single pass over them has no use for it.
    assigned
        See `CorpusSource`.

    Attributes
    ----------
    lengths
        Frames of every item, (items,).
    """

    def __init__(
        self, corpus: Corpus, *, hold: bool = True, assigned: NDArray[np.int8] | None = None
    ) -> None:
        self._corpus = corpus
        self._splits = corpus.splits if assigned is None else assigned
        self.lengths = np.diff(corpus.artifact.read("input_offset"))
        size = 4 * int(np.prod(corpus.mean.shape)) * int(self.lengths.sum())
        self._held = hold and size <= HELD_BYTES
        self._kept: dict[int, Tensor] = {}

    def utterances(self, split: str) -> NDArray[np.int64]:
        """Return the items of a split, (n,)."""
        return np.flatnonzero(self._splits == SPLITS.index(split))

    def fetch(self, items: NDArray[np.int64]) -> list[Tensor]:
        """Return the centred inputs (C, F, T) of items."""
        missing = np.array([item for item in items.tolist() if item not in self._kept], np.int64)
        mean = self._corpus.mean[..., None]
        read = {
            int(item): torch.from_numpy(values - mean)
            for item, values in zip(missing, self._corpus.utterance_inputs(missing), strict=True)
        }
        if self._held:
            self._kept.update(read)
        return [read[item] if item in read else self._kept[item] for item in items.tolist()]

    def letters(self, items: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return the labels of items, as `alphabet.encode` makes them."""
        return [encode(letters) for letters in self._corpus.letters(items)]


Part = TypeVar("Part")
Read = TypeVar("Read")


def resample(
    labels: NDArray[np.integer], per_class: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the positions of `per_class` items of every class that occurs.

    Of a class with n items all are taken ``per_class // n`` times, and the remaining
    ``per_class mod n`` are drawn without replacement, so that none of a rare class is ever left
    out (Churchman 2015, sec. 3.3).

    Parameters
    ----------
    labels : (N,) class of each item.

    Returns
    -------
    (classes · per_class,) positions, class by class.
    """
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        whole, rest = divmod(per_class, len(members))
        chosen.append(np.tile(members, whole))
        chosen.append(rng.choice(members, rest, replace=False))
    return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)


def in_batches(positions: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Return positions cut into batches; the last one may be smaller."""
    return [positions[first : first + size] for first in range(0, len(positions), size)]


def by_length(
    lengths: NDArray[np.integer], size: int, padding: float, rng: np.random.Generator | None = None
) -> list[NDArray[np.int64]]:
    """Return the positions of all utterances in batches of nearly the same length.

    Utterances are sorted by length and cut into batches; a batch ends early where the next
    utterance would make more than `padding` of its frames padding.

    Parameters
    ----------
    lengths
        Frames of every utterance.
    size
        The most utterances a batch.
    padding
        The most padding of a batch, as a share of its frames.
    rng
        Draws the batches' order, and who is with whom among the nearly equally long. None: from
        the shortest to the longest.
    """
    keys = np.asarray(lengths, dtype=np.float64)
    if rng is not None:
        # Blurred by about the padding allowed, or every epoch would have the same batches.
        keys = keys * (1 + padding * rng.random(len(keys)))
    made: list[NDArray[np.int64]] = []
    batch: list[int] = []
    longest = frames = 0
    for position in np.argsort(keys, kind="stable").tolist():
        length = int(lengths[position])
        room = max(longest, length) * (len(batch) + 1)
        if batch and (len(batch) == size or room - frames - length > padding * room):
            made.append(np.array(batch))
            batch, longest, frames = [], 0, 0
        batch.append(position)
        longest, frames = max(longest, length), frames + length
    if batch:
        made.append(np.array(batch))
    if rng is not None:
        made = [made[index] for index in rng.permutation(len(made))]
    return made


def read_ahead(
    read: Callable[[Part], Read], parts: Iterable[Part], device: torch.device = CPU
) -> Iterator[Read]:
    """Yield what is read of each part, by a thread, while the one before is worked on.

    What is read may be sent to the device meanwhile: see `Lane`.
    """
    lane = Lane(device)
    with ThreadPoolExecutor(1) as pool:
        pending: Future[Any] | None = None
        for part in parts:
            ready, pending = pending, pool.submit(lane.filled, partial(read, part))
            if ready is not None:
                yield lane.taken(*ready.result())
        if pending is not None:
            yield lane.taken(*pending.result())


@dataclass(frozen=True)
class Draws:
    """What was drawn for a batch: positions to read, factors, seeds of noise.

    Parameters
    ----------
    frequency, time
        Where each output bin (B, F) and frame (B, T) is read from, in bins and frames.
    level
        Factors (B,).
    seeds
        Of each item's noise (B,).
    """

    frequency: Tensor
    time: Tensor
    level: Tensor
    seeds: Tensor

    def part(self, items: slice) -> "Draws":
        """Return what was drawn for some of the items."""
        return Draws(self.frequency[items], self.time[items], self.level[items], self.seeds[items])


def draw(
    amounts: Mapping[str, float], count: int, shape: tuple[int, ...], generator: torch.Generator
) -> Draws:
    """Draw for a batch of `count` items of `shape` (C, F, T); on the CPU.

    Frequencies a f + b and times t₀ + c (t − t₀) + d, t₀ the middle; factors exp(gain · n).

    Parameters
    ----------
    amounts
        ``warp``, the largest relative change of the frequency axis, as of another vocal tract;
        ``bins``, the largest shift in frequency [bins]; ``stretch``, the largest relative change
        of the time axis, about the middle; ``frames``, the largest shift in time [frames];
        ``gain``, the standard deviation of the logarithm of a factor on the input; ``noise``, that
        of white noise, as a share of the item's root mean square. One not given is 0.
    count, shape, generator
        As said.
    """
    warp, shift, stretch, delay, gain, noise = (
        amounts.get(name, 0.0) for name in ("warp", "bins", "stretch", "frames", "gain", "noise")
    )
    _, bins, frames = shape
    even = torch.rand(4, count, 1, generator=generator) * 2 - 1
    level = torch.randn(count, generator=generator) * gain
    seeds = torch.randint(2**62, (count,), generator=generator) if noise else level
    frequency = torch.arange(bins) * (1 + warp * even[0]) + shift * even[1]
    middle = (frames - 1) / 2
    time = (torch.arange(frames) - middle) * (1 + stretch * even[2]) + middle
    return Draws(frequency, time + delay * even[3], level.exp(), seeds)


def apply(x: Tensor, mean: Tensor, draws: Draws, share: float = 0.0) -> Tensor:
    """Return varied inputs.

    y(f, t) = g · s(f', t') + noise − mean, s = x + mean, read at the drawn places f', t' by
    linear interpolation; s is 0, silence, before and after the item, and repeats its edges
    in frequency.

    Parameters
    ----------
    x
        Centred inputs (B, C, F, T), of a representation in which silence is 0.
    mean
        The mean that was removed, (C, F, T).
    draws
        From `draw`, for these items.
    share
        The amount of noise.
    """
    _, _, bins, frames = x.shape
    # grid_sample measures from -1, the first position, to 1, the last.
    down = draws.frequency.clamp(0, bins - 1) * (2 / max(bins - 1, 1)) - 1
    along = draws.time * (2 / max(frames - 1, 1)) - 1
    grid = torch.stack(
        (along[:, None, :].expand(-1, bins, -1), down[:, :, None].expand(-1, -1, frames)),
        dim=-1,
    )
    grid, level = (sent(drawn, x.device).to(x) for drawn in (grid, draws.level))
    varied = functional.grid_sample(x + mean, grid, padding_mode="zeros", align_corners=True)
    varied *= level[:, None, None, None]
    if share:
        white = noise(draws.seeds.tolist(), 0, x.shape[1:], x.device).to(x)
        size = varied.square().mean((1, 2, 3), keepdim=True).sqrt()
        varied.addcmul_(white, size, value=share)
    return varied - mean
