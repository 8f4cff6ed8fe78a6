"""What is heard of originals in reconstructions: attributes, spectra, phones and speakers.

A judge names the manner, place, voicing and height of a phone from the levelled log-mel spectrum
of its sound alone, and the sex of a speaker from its F0. It knows nothing of the network that is
looked into.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from speechscope.corpus.phones import NONE, features_of
from speechscope.corpus.store import Corpus, per_class
from speechscope.features.attributes import attributes
from speechscope.features.distances import (
    level_distance,
    levels,
    lost,
    partners,
    powers,
    with_others,
)
from speechscope.features.filterbanks import filters
from speechscope.scores.statistics import GUESSED, ROUNDING, Score, among, shuffled
from speechscope.scores.voices import DIVIDE

Points = NDArray[np.floating[Any]]
Names = NDArray[np.str_]

BANDS = 30
"""Of the log-mel spectrum (chosen: 25 ms resolve no more below 300 Hz)."""
PARTS = 5
"""Stretches of a segment whose spectra are judged (chosen)."""
PER_CLASS = 60
"""Training items a class that judges are trained on (chosen)."""
PHONES: Mapping[str, str] = {
    "manner": "manner of the phone",
    "place": "place of the phone",
    "voicing": "voicing of the phone",
    "height": "height of the vowel",
}
SEX = "sex of the speaker"
TIMIT = re.compile(r"([FM])[A-Z]{2,3}\d")
"""TIMIT's names of speakers begin with their sex."""


def mel_levels(waveforms: Points, rate: int, bands: int = BANDS) -> NDArray[np.float32]:
    """Return the log-mel spectra of waveforms (N, samples), (N, frames, bands) [dB].

    Of each no lower than 60 dB below its loudest point.
    """
    power = powers(waveforms)
    bank = filters(bands, 2 * (power.shape[2] - 1), rate)
    return np.asarray(levels(power @ bank), dtype=np.float32)


def points_of(mel: Points) -> Points:
    """Return what judges look at: the spectrum of each stretch less the mean level, (N, d)."""
    parts = [part.mean(axis=1) for part in np.array_split(mel, PARTS, axis=1)]
    spectra = np.stack(parts, axis=1).reshape(len(mel), -1).astype(np.float64)
    return np.asarray(spectra - spectra.mean(axis=1, keepdims=True))


def standardised(points: Points) -> Points:
    """Return points with the mean and the deviation of each value taken away over all of them.

    So that, as a listener does, the judge gets used to the colour of a room, or of a method.
    """
    deviation = points.std(axis=0)
    return np.asarray((points - points.mean(axis=0)) / np.where(deviation > 0, deviation, 1))


def truths(classes: Sequence[str], labels: NDArray[np.integer[Any]]) -> dict[str, Names]:
    """Return the value of each feature of items' phones, (N,); `NONE` where they have none."""
    known = features_of(classes)
    return {name: np.array(known[feature])[labels] for feature, name in PHONES.items()}


def sexes(names: Sequence[str], speakers: NDArray[np.integer[Any]]) -> Names | None:
    """Return the sex of items' speakers, (N,); None where names do not tell it."""
    found = [TIMIT.fullmatch(name) for name in names]
    if not all(found) or not names:
        return None
    letters: Names = np.array([match[1] for match in found if match])
    return np.asarray(letters[speakers])


class Judges:
    """Linear discriminants, with shrinkage, trained on items of a corpus' training split.

    Where an attribute has one value alone there is no judge of it.
    """

    def __init__(self, corpus: Corpus) -> None:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        items = np.sort(per_class(corpus, "train", PER_CLASS, 0))
        mel = mel_levels(corpus.waveforms(items), int(corpus.config["rate"]))
        points = standardised(points_of(mel))
        wanted = truths(corpus.classes, corpus.labels[items])
        self._judges: dict[str, Any] = {}
        for name, values in wanted.items():
            there = values != NONE
            kinds = np.unique(values[there])
            if len(kinds) > 1:
                judge = LinearDiscriminantAnalysis(
                    solver="lsqr", shrinkage="auto", priors=np.full(len(kinds), 1 / len(kinds))
                )
                self._judges[name] = judge.fit(points[there], values[there])

    def answers(self, mel: Points, wanted: Mapping[str, Names]) -> dict[str, tuple[Names, Names]]:
        """Return the true and the named values of those items that have the attribute.

        Parameters
        ----------
        mel
            From `mel_levels`.
        wanted
            The true values of each attribute, (N,).
        """
        points = standardised(points_of(mel))
        return {
            name: (wanted[name], np.where(there, judge.predict(points), NONE))
            for name, judge in self._judges.items()
            if name in wanted and (there := wanted[name] != NONE).any()
        }


LOST = "another item's reconstruction"
"""What belongs together by chance: originals and reconstructions whose pairs are lost."""
WITHIN = "another reconstruction of its class"
MEL, MEL_WITHIN = "log-mel distance [dB]", "log-mel distance within class [dB]"


@dataclass(frozen=True, eq=False)
class Heard:
    """What is measured of sounds, one an item.

    Parameters
    ----------
    mel
        From `mel_levels`.
    values
        From `speechscope.features.attributes.attributes`, by name.
    """

    mel: NDArray[np.float32]
    values: Mapping[str, Points]

    @classmethod
    def of(
        cls, blocks: Iterator[tuple[Points, NDArray[np.bool_]]], rate: int, *, praat: bool
    ) -> "Heard":
        """Measure waveforms (N, samples) block by block, each with which of them are vowels."""
        parts = [
            (mel_levels(waveforms, rate), attributes(waveforms, rate, vowels, praat=praat))
            for waveforms, vowels in blocks
        ]
        values = {name: np.concatenate([part[name] for _, part in parts]) for name in parts[0][1]}
        return cls(np.concatenate([mel for mel, _ in parts]), values)


@dataclass(frozen=True, eq=False)
class Listener:
    """Holds what is heard of reconstructions against what is heard of their originals.

    Parameters
    ----------
    original
        Of the originals.
    labels
        Class of each item, (N,).
    wanted
        True values of what judges name: `truths` and `sexes`.
    judges
        None: nothing is named.
    """

    original: Heard
    labels: NDArray[np.int64]
    wanted: Mapping[str, Names]
    judges: Judges | None

    def scores(self, restored: Heard) -> Iterator[Score]:
        """Yield a score of each attribute: its measure, items' values and chance."""
        for name, values in restored.values.items():
            yield together(name, self.original.values[name], values)
        yield from self._spectra(restored.mel)
        answers = {} if self.judges is None else self.judges.answers(restored.mel, self.wanted)
        if SEX in self.wanted and "F0" in restored.values:
            # Where the original is not voiced, nobody could tell; a reconstruction that is not
            # voiced has no answer.
            voiced = np.isfinite(self.original.values["F0"])
            named = np.where(restored.values["F0"] > DIVIDE, "F", "M")
            named[np.isnan(restored.values["F0"])] = NONE
            answers[SEX] = np.where(voiced, self.wanted[SEX], NONE), named
        for name, (true, named) in answers.items():
            there = true != NONE
            right = np.where(there, true == named, np.nan)
            chance = among(shuffled(named[there], true[there]), there, len(true))
            yield Score({"measure": name}, right, {GUESSED: chance}, ceiling=1.0)

    def _spectra(self, mel: NDArray[np.float32]) -> Iterator[Score]:
        first = self.original.mel
        values = level_distance(first, mel)
        others = with_others(lambda pair: level_distance(first, mel[pair]), partners(len(mel)))
        yield Score({"measure": MEL}, values, {LOST: others}, higher=False)
        within, chance = (np.full(len(mel), np.nan) for _ in range(2))
        for label in np.unique(self.labels):
            mine = np.flatnonzero(self.labels == label)
            pairs = partners(len(mine))
            if len(pairs):
                others = np.array([level_distance(first[mine], mel[mine[p]]) for p in pairs])
                within[mine], chance[mine] = values[mine], lost(others, pairs)
        yield Score({"measure": MEL_WITHIN}, within, {WITHIN: chance}, higher=False)


def together(name: str, first: Points, second: Points) -> Score:
    """Return Spearman's rank correlation of an attribute of originals and of reconstructions.

    Σ x y / Σ (x² + y²) / 2 over items with standardised ranks x and y, whose mean over all pairings
    is 0: a mean with weights, which like the correlation itself is never above 1, whichever items
    are drawn. Items whose original has no such value are left out; of those whose reconstruction
    has none the product is 0.
    """
    there = np.isfinite(first)
    x, y = _ranks(first[there]), _ranks(second[there])
    weights = np.where(np.isfinite(second[there]), (x**2 + y**2) / 2, x**2)
    weights = np.maximum(weights, ROUNDING)
    values = among(x * y / weights, there, len(first))
    chance = {LOST: np.where(there, 0.0, np.nan)}
    weights = among(weights, there, len(first))
    return Score({"measure": name}, values, chance, ceiling=1.0, weights=weights)


def _ranks(values: Points) -> Points:
    """Return ranks with mean 0 and mean square 1 over those that are finite; 0 for the others."""
    there = np.isfinite(values)
    ranks = np.zeros(len(values))
    # What differs by rounding alone has no order.
    if there.any() and np.ptp(values[there]) > ROUNDING * np.abs(values[there]).max():
        ranks[there] = rankdata(values[there])
        ranks[there] -= ranks[there].mean()
        size = float(np.sqrt(np.square(ranks[there]).mean()))
        ranks /= size or 1.0
    return ranks
