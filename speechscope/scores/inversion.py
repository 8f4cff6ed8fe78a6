"""The scores of `inversion.zarr`: what reconstructions have of their originals, beside chance.

By chance is what the same reconstructions get when pairs are lost, each held against the originals
of other items; of cross-correlations also what other items, the average, and noise with the average
spectrum get, none of which has seen the item.
"""

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from speechscope.corpus.phones import NONE, features_of
from speechscope.corpus.store import Corpus
from speechscope.errors import ArtifactError, UsageProblem
from speechscope.features import distances
from speechscope.features.attributes import available
from speechscope.features.distances import lost, partners, with_others
from speechscope.registry import SCORES
from speechscope.scores.draws import certainty
from speechscope.scores.heard import LOST, SEX, Heard, Judges, Listener, sexes, truths
from speechscope.scores.listener import (
    WORDS_RATE,
    NamedBy,
    hears,
    kept,
    misheard,
    naming,
    words,
)
from speechscope.scores.moved import Steps
from speechscope.scores.statistics import OTHER, Done, Row, Score
from speechscope.store.artifact import Artifact
from speechscope.store.lineage import ancestor
from speechscope.work.device import choose

if TYPE_CHECKING:
    from speechscope.stages.score import Score as Settings

Array = NDArray[np.floating[Any]]
Values = NDArray[np.float64]
Place = tuple[int, int] | None
"""Of reconstructions: the method and the layer; None: the round trip."""

BLOCK = 256  # items compared at a time: about 3 MB of spectrograms
KEPT = 8  # blocks of originals that are remembered: about 100 MB
NOISE, AVERAGE = "noise with the average spectrum", "the average"
FRAME = 256
"""Samples of a frame of noise (chosen)."""
WAVEFORM, SPECTROGRAM = "waveform (mxcorr)", "spectrogram (mxcorr2)"
EUCLIDEAN, SIZE = "Euclidean distance", "size over the original's"
PLAIN, SPECTRAL = "waveform without delay", "log-spectral distance [dB]"
HIGHER = (WAVEFORM, SPECTROGRAM, PLAIN)
"""Measures of which more is better."""
MISMATCHES = {"mismatch": "mismatch", "mismatch of the waveform": "mismatch_waveform"}
"""Measures, and the arrays they are in."""


@SCORES.register("inversion")
def inversion_scores(path: Path, settings: "Settings") -> Iterator[Score | Row | Done]:
    """Yield scores by method, layer and measure (Churchman 2015, sec. 7.1, and phonetic terms).

    The ceiling is what the round trip of the representation itself gets.

    Raises
    ------
    ArtifactError
        The inversion is missing or damaged.
    """
    artifact = Artifact(path, "inversion")
    inversion = Inversion(artifact, _corpus(artifact, settings.moved()))
    if (listener := inversion.listener(settings)) is not None:
        inversion.hear_by(listener, settings)
    best, methods = inversion.ceilings(), artifact.flags("technique")
    layers = artifact.read("layer_number").tolist()
    for m, method in enumerate(methods):
        for at, layer in enumerate(layers):
            yield Done(m * len(layers) + at, len(methods) * len(layers))
            names: Row = {"method": method, "layer": int(layer)}
            for score in inversion.of(methods, m, at):
                yield replace(
                    score,
                    names={**names, **score.names},
                    ceiling=best.get(str(score.names["measure"])),
                    beside={"input": inversion.given},
                )


def _corpus(artifact: Artifact, moved: Mapping[str, Path]) -> Corpus | None:
    """Return the corpus of the network, where it still is; without it, less can be scored."""
    try:
        return Corpus(ancestor(artifact.path, artifact.record, "corpus", moved))
    except ArtifactError:
        return None


class Inversion:
    """Items of an inversion, and what is measured of them.

    Parameters
    ----------
    artifact
        The inversion.
    corpus
        What its network was trained on, if that is still there: judges are trained on it.
    """

    def __init__(self, artifact: Artifact, corpus: Corpus | None) -> None:
        self.artifact, self._corpus = artifact, corpus
        self.sounds = "waveform" in artifact
        # Inversions from before there were other inputs do not say.
        self.given = str(artifact.record["config"].get("input", "corpus"))
        self._count = int(artifact.array("original").shape[0])
        self._blocks = [
            slice(start, min(start + BLOCK, self._count)) for start in range(0, self._count, BLOCK)
        ]
        self._cache: dict[int, Given] = {}
        self._named: NamedBy | None = None
        labels, classes = artifact.read("label").astype(np.int64), artifact.flags("label")
        self._labels, wanted = labels, truths(classes, labels)
        self._speakers, names = _speakers(artifact, corpus if self.given == "corpus" else None)
        if self._speakers is not None and (known := sexes(names, self._speakers)) is not None:
            wanted[SEX] = known
        if not self.sounds:
            return
        self._rate = int(artifact.attributes("waveform")["sampling_frequency"])
        self._vowels = (np.array(features_of(classes)["height"]) != NONE)[labels]
        original = self._heard("waveform_original", ())
        self._listener = Listener(original, labels, wanted, _judges(corpus))

    def of(self, methods: Sequence[str], m: int, layer: int) -> Iterator[Score]:
        """Yield what is scored of a method and a layer, after what the method is."""
        if "@" in methods[m]:
            yield from self.steps(methods, m, layer)
        elif "#" not in methods[m]:  # draws are scored together
            yield from self.scores((m, layer))
            yield from self.draws(methods, m, layer)

    def ceilings(self) -> dict[str, float | None]:
        """Return what the round trip gets, by measure."""
        found = self.scores(None) if self.sounds else ()
        best = {str(score.names["measure"]): score.mean for score in found}
        return best | {EUCLIDEAN: 0.0, SPECTROGRAM: 1.0, **dict.fromkeys(MISMATCHES, 0.0)}

    def draws(self, methods: Sequence[str], m: int, layer: int) -> Iterator[Score]:
        """Yield what the draws of a method say of a layer."""
        drawn = [n for n, name in enumerate(methods) if name.startswith(f"{methods[m]}#")]
        if len(drawn) < 2 or not self.sounds:
            return
        listener = self._listener
        heard = [self._heard("waveform", (n, layer)) for n in drawn]
        known = {name: wanted for name, wanted in listener.wanted.items() if name != SEX}
        for score in certainty(listener.original, heard, listener.judges, known):
            yield replace(score, speakers=self._speakers)

    def steps(self, methods: Sequence[str], m: int, layer: int) -> Iterator[Score]:
        """Yield what is heard of a step, of a method that moved the activity."""
        method, _, move = methods[m].partition("@")
        others = method, f"{method}@random"
        if not self.sounds or move == "random" or not set(others) <= set(methods):
            return
        scored = Steps(self.artifact.flags("label"), self._labels, self._listener.judges)
        heard = [self._heard("waveform", (n, layer)) for n in (m, *map(methods.index, others))]
        for score in scored.scores(move, *heard):
            yield replace(score, speakers=self._speakers)

    def listener(self, settings: "Settings") -> Path | None:
        """Return the model that is to name phones: that asked for, or that kept by the corpus."""
        if self._corpus is None or not self.sounds or not hears(self.artifact.record, settings):
            return settings.listener
        return kept(self._corpus.path)

    def hear_by(self, path: Path, settings: "Settings") -> None:
        """Have another model name the phones, too.

        Raises
        ------
        UsageProblem
            There is no sound, or the model does not hear such.
        """
        if not self.sounds:
            raise UsageProblem(f"--listener: {self.artifact.path} cannot be heard")
        samples = int(self.artifact.array("waveform_original").shape[-1])
        device = choose(settings.device)
        self._named = NamedBy(path, settings.moved(), samples, self._rate, device)

    def _heard(self, name: str, place: tuple[int, ...]) -> Heard:
        blocks = (
            (self.artifact.read(name, (*place, items)), self._vowels[items])
            for items in self._blocks
        )
        return Heard.of(blocks, self._rate, praat=available())

    def scores(self, place: Place) -> Iterator[Score]:
        """Yield what is scored of one method and layer, or of the round trip."""
        parts = [self._compared(place, items) for items in self._blocks]
        for name, first in parts[0].items():
            values = np.concatenate([part[name][0] for part in parts])
            chance = {
                null: np.concatenate([part[name][1][null] for part in parts]) for null in first[1]
            }
            higher = name in HIGHER
            yield Score({"measure": name}, values, chance, None, higher, self._speakers)
        if self.sounds:
            name, at = ("waveform_round_trip", ()) if place is None else ("waveform", place)
            for score in self._listener.scores(self._heard(name, at)):
                yield replace(score, speakers=self._speakers)
            if self._named is not None:
                truth = self._named.truths(self.artifact.flags("label"), self._labels)
                # At best it hears the originals.
                what = "waveform_original" if place is None else name
                waves = (self.artifact.read(what, (*at, items)) for items in self._blocks)
                found = np.concatenate([self._named.named(part) for part in waves])
                for score in naming(truth, found):
                    yield replace(score, speakers=self._speakers)
            if self.given == "audio":
                yield from self._of_recording(name, at)
        if place is None:
            return
        for name, array in MISMATCHES.items():
            if array in self.artifact:
                values, other = self.artifact.read(array, place), f"{array}_other"
                chance = {LOST: self.artifact.read(other, place)} if other in self.artifact else {}
                yield Score(
                    {"measure": name}, values, chance, None, False, self._speakers, relative=True
                )

    def _given(self, items: slice) -> "Given":
        """Return what is compared with, of the originals of a block."""
        if items.start not in self._cache:
            if len(self._cache) >= KEPT:
                self._cache.clear()
            average = self.artifact.read("waveform_average") if self.sounds else None
            waveforms = self.artifact.read("waveform_original", items) if self.sounds else None
            spectra = self.artifact.read("original", items)
            self._cache[items.start] = Given.of(spectra, waveforms, average, items.start)
        return self._cache[items.start]

    def _compared(self, place: Place, items: slice) -> dict[str, tuple[Values, dict[str, Values]]]:
        """Compare reconstructions with originals, item by item: values, and chance by null."""
        given = self._given(items)
        restored = given.spectra
        if place is not None:
            restored = self.artifact.read("reconstruction", (*place, items))
        found = {
            EUCLIDEAN: _held(distances.euclidean, given.spectra, restored, given.pairs),
            SPECTROGRAM: _correlated(given.spectra, restored, given.pairs, given.of_spectra),
            # How large it is, against nothing: a description.
            SIZE: (distances.intensity(given.spectra, restored), {}),
        }
        if given.waveforms is not None and given.levels is not None:
            name, at = ("waveform_round_trip", ()) if place is None else ("waveform", place)
            second = self.artifact.read(name, (*at, items))
            first, levels = given.waveforms, distances.levels(distances.powers(second))
            found[WAVEFORM] = _correlated(first, second, given.pairs, given.of_waveforms)
            found[PLAIN] = _held(distances.correlation, first, second, given.pairs)
            found[SPECTRAL] = _held(distances.level_distance, given.levels, levels, given.pairs)
        return found

    def _of_recording(self, name: str, at: tuple[int, ...]) -> Iterator[Score]:
        """Yield what is understood of a recording whose segments follow each other.

        STOI, where pystoi is installed, and the errors at each of its words, where pocketsphinx is.
        """
        original = self.artifact.read("waveform_original").ravel()
        restored = self.artifact.read(name, (*at, slice(None))).ravel()
        if importlib.util.find_spec("pystoi") is not None:
            stoi = distances.stoi(original, restored, self._rate)
            if stoi is not None:
                yield Score({"measure": "stoi of the recording"}, np.array([stoi]))
        if importlib.util.find_spec("pocketsphinx") is not None and self._rate == WORDS_RATE:
            wanted, chance = self._words
            errors = {"measure": "word errors against the recording"}
            yield Score(errors, misheard(wanted, words(restored)), {NOISE: chance}, higher=False)

    @cached_property
    def _words(self) -> tuple[list[str], Values]:
        """The words of a recording, and the errors of noise with its spectrum at each of them."""
        segments = self.artifact.read("waveform_original")
        # Of the average over segments: with the spectra of its own moments noise can be understood.
        wanted, *noise = (words(sound.ravel()) for sound in (segments, shaped_noise(segments, 0)))
        return wanted, misheard(wanted, *noise)


def _speakers(
    artifact: Artifact, corpus: Corpus | None
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return who speaks each item, and their names; older inversions leave it to their corpus."""
    if "speaker" in artifact:
        return artifact.read("speaker").astype(np.int64), artifact.flags("speaker")
    if corpus is None:
        return None, ()
    speakers = corpus.artifact.read("speaker").astype(np.int64)
    return speakers[artifact.read("item_index")], corpus.names("speaker")


def _judges(corpus: Corpus | None) -> Judges | None:
    try:
        return None if corpus is None else Judges(corpus)
    except UsageProblem:
        return None  # its items are no segments, or are no phones


Held = tuple[Values, dict[str, Values]]


@dataclass(frozen=True, eq=False)
class Given:
    """Originals of a block, and what those get that have not seen an item.

    Parameters
    ----------
    spectra, waveforms, levels
        (N, C, F, T), (N, samples), and from `distances.levels`; None: they cannot be heard.
    pairs
        Their `partners`.
    of_spectra, of_waveforms
        What other items, noise and the average have of each, (N,), by name.
    """

    spectra: Array
    waveforms: Array | None
    levels: Array | None
    pairs: NDArray[np.int64]
    of_spectra: Mapping[str, Values]
    of_waveforms: Mapping[str, Values]

    @classmethod
    def of(
        cls, spectra: Array, waveforms: Array | None, average: Array | None, seed: int
    ) -> "Given":
        """Work them out; `average` is that of the training waveforms (samples,)."""
        pairs = partners(len(spectra), seed)
        mean = (spectra.sum(0) - spectra) / max(1, len(spectra) - 1)  # without the item itself
        noise = mean + np.random.default_rng(seed).normal(size=spectra.shape) * spectra.std(0)
        levels, of_waveforms = None, {}
        if waveforms is not None and average is not None:
            levels = distances.levels(distances.powers(waveforms))
            sounds = (shaped_noise(waveforms, seed), np.broadcast_to(average, waveforms.shape))
            of_waveforms = _unseen(waveforms, pairs, *sounds)
        unseen = _unseen(spectra, pairs, noise, mean)
        return cls(spectra, waveforms, levels, pairs, unseen, of_waveforms)


def _unseen(
    original: Array, pairs: NDArray[np.int64], noise: Array, average: Array
) -> dict[str, Values]:
    measure = distances.max_cross_correlation
    return {
        OTHER: lost(distances.cross_correlations(original, original, list(pairs)), pairs),
        NOISE: measure(original, noise),
        AVERAGE: measure(original, average),
    }


def _held(
    measure: Callable[[Array, Array], Values],
    original: Array,
    restored: Array,
    pairs: NDArray[np.int64],
) -> Held:
    """Return a measure of items, and what they get when pairs are lost."""
    others = with_others(lambda pair: measure(original, restored[pair]), pairs)
    return measure(original, restored), {LOST: others}


def _correlated(
    original: Array, restored: Array, pairs: NDArray[np.int64], unseen: Mapping[str, Values]
) -> Held:
    own, *others = distances.cross_correlations(original, restored, [slice(None), *pairs])
    return own, {LOST: lost(np.array(others), pairs), **unseen}


def shaped_noise(waveforms: Array, seed: int) -> Array:
    """Return noise with the average short-time power spectrum of waveforms (N, samples).

    Gaussian, with the mean power of all of them in each frame and bin, (N, samples).
    """
    samples = waveforms.shape[1]
    settings = {"nperseg": FRAME, "noverlap": FRAME // 2}
    _, _, spectra = signal.stft(waveforms, **settings)
    size = np.sqrt(np.mean(np.abs(spectra) ** 2, axis=0))
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(2, *spectra.shape))
    _, noise = signal.istft(size * (drawn[0] + 1j * drawn[1]), **settings)
    return np.asarray(noise[:, :samples])
