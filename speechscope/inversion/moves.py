"""Activity moved along a direction, so that a step can be heard: ``regress@voicing``.

A direction is what two phones that differ in one thing differ by, or how activity rises with an
attribute of the sound. It is known from training items alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.phones import NONE, features_of
from speechscope.corpus.steps import STEPS, pairs_of
from speechscope.errors import UsageProblem
from speechscope.features.attributes import attributes, available, in_octaves
from speechscope.inversion.source import TrainingPool
from speechscope.networks.layers import Layered
from speechscope.work.device import sent

MOVED = ("intensity", "duration", "F0", "F1", "F2")
"""Attributes there are directions of."""
RANDOM = "random"
"""A step that is none: the difference of two random phones, for each item another."""
SAMPLED, BATCH = 4096, 256
"""Training items that directions are of, at most, and those worked on at a time (chosen)."""
LEAST = 5
"""Training items below which a phone, or an attribute, has no direction (chosen)."""
_TEXT = re.compile(r"([+-]?[\d.]*)([A-Za-z]\w*)")


@dataclass(frozen=True)
class Move:
    """How far along which direction: ``voicing``, ``-voicing``, ``2F0``.

    In steps from phone to phone, or in standard deviations of an attribute (of F0, F1 and F2 by
    octaves) over training items.
    """

    name: str
    amount: float

    @classmethod
    def parse(cls, text: str) -> "Move":
        """Read it.

        Raises
        ------
        UsageProblem
            There is no such direction, or the amount is no number.
        """
        found = _TEXT.fullmatch(text)
        try:
            number = "" if found is None else found[1]
            amount = float(f"{number}1" if number in ("", "+", "-") else number)
        except ValueError:
            found = None
        known = (*STEPS, *MOVED, RANDOM)
        if found is None or found[2] not in known:
            raise UsageProblem(
                f"--method …@{text}: choose from {', '.join(known)}, with an amount before it, as "
                "in @-voicing or @2F0"
            )
        return cls(found[2], amount)


@dataclass(frozen=True)
class Directions:
    """The directions of one layer.

    Parameters
    ----------
    by_name
        Shaped as the activity of an item.
    phones
        Mean activity of phones, (phone, …); random steps are between them.
    """

    by_name: Mapping[str, Tensor]
    phones: Tensor

    def of(self, text: str, seeds: Sequence[int]) -> Tensor:
        """Return what is added to the activity of items with these seeds, (B or 1, …).

        Raises
        ------
        UsageProblem
            See `Move.parse`, or training items do not tell it.
        """
        move = Move.parse(text)
        if move.name != RANDOM:
            if move.name not in self.by_name:
                raise UsageProblem(
                    f"--method …@{text}: the training items do not have what leads there"
                )
            return move.amount * self.by_name[move.name][None]
        ends = [
            np.random.default_rng([seed, 0x57E9]).choice(len(self.phones), 2, replace=False)
            for seed in seeds
        ]
        first, second = torch.from_numpy(np.array(ends)).to(self.phones.device).T
        return move.amount * (self.phones[first] - self.phones[second])


def directions(
    network: Layered, layers: Sequence[int], pool: TrainingPool, classes: Sequence[str]
) -> dict[int, Directions]:
    """Return the directions of layers, by number, from training items.

    Of a step, the mean over its pairs of phones of the difference of their mean activities; of an
    attribute a, with z its standardised value, E[z (y − E y)], by how much activity y rises with a
    standard deviation of it.

    Parameters
    ----------
    classes
        Names of the pool's labels.
    """
    device = next(network.parameters()).device
    count = len(pool.labels)
    places = np.sort(np.random.default_rng(0x57E9).permutation(count)[:SAMPLED])
    labels = pool.labels[places]
    slopes = _standardised(pool, places, classes)
    there = [n for n in range(len(classes)) if (labels == n).sum() >= LEAST]
    # Rows are linear in the activities: the means of phones, and the slopes.
    means = np.array([(labels == n) / (labels == n).sum() for n in there])
    rows = torch.from_numpy(np.concatenate([means, *(z[None] for z in slopes.values())])).double()
    total: dict[int, Tensor] = {}
    for first in range(0, len(places), BATCH):
        part = slice(first, first + BATCH)
        with torch.no_grad():
            found = network.activations(sent(pool.inputs(places[part]), device), layers)
        for layer in layers:
            held = found[layer].flatten(1).double().cpu()
            add = rows[:, part] @ held
            total[layer] = total[layer] + add if layer in total else add
        shapes = {layer: found[layer].shape[1:] for layer in layers}
    out = {}
    for layer, sums in total.items():
        held = sums.float().view(-1, *shapes[layer]).to(device)
        phones = held[: len(there)]
        by_name = dict(zip(slopes, held[len(there) :], strict=True))
        for step in STEPS:
            pairs = pairs_of(step, [classes[n] for n in there])
            if pairs:
                after, before = torch.tensor(pairs).T
                by_name[step] = (phones[after] - phones[before]).mean(0)
        out[layer] = Directions(by_name, phones)
    return out


def _standardised(
    pool: TrainingPool, places: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return the standardised attributes of training items over their number; 0 where unknown."""
    waveforms = pool.waveforms(places).numpy()
    vowels = (np.array(features_of(classes)["height"]) != NONE)[pool.labels[places]]
    out = {}
    for name, values in attributes(waveforms, pool.rate, vowels, praat=available()).items():
        known = np.isfinite(values)
        if name not in MOVED or known.sum() < LEAST:
            continue
        values = in_octaves(name, values)
        apart = np.where(known, values - values[known].mean(), 0.0)
        deviation = np.sqrt(np.square(apart[known]).mean())
        if deviation > 0:
            out[name] = apart / deviation / known.sum()
    return out
