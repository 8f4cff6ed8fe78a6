"""What is inverted: a network, the corpus behind it, trained decoders, and the inputs.

Inputs are items of that corpus or of another one, a recording, or sounds that are not speech.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.audio import read_audio
from speechscope.corpus.reading import GAIN_SCALE
from speechscope.corpus.store import Corpus, choose, positions
from speechscope.corpus.utterances import BadRecording
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.features.representations import SCOPES, Scaling, delta
from speechscope.inversion.problem import Restorer
from speechscope.inversion.regress import load_inverses
from speechscope.networks.layers import Layered
from speechscope.networks.saved import load_classifier, load_decoders
from speechscope.networks.subject import elsewhere
from speechscope.registry import INVERSION, STIMULI
from speechscope.store.lineage import ancestor, record_at

if TYPE_CHECKING:
    from speechscope.stages.invert import Invert


Float = NDArray[np.float32]
Items = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Source:
    """A network that is inverted.

    Parameters
    ----------
    path, kind
        The artifact it was read from.
    network
        On its device, for inputs with the training mean removed.
    corpus
        Whose mean that is.
    decoders, inverses
        Trained ones by layer, where they were asked for.
    config
        What the record says of the network.
    notes
        What is to be said of it.
    trims
        Whether recordings are given as long as they are.
    """

    path: Path
    kind: str
    network: Layered
    corpus: Corpus
    decoders: Mapping[int, Restorer] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    inverses: Mapping[int, Restorer] = field(default_factory=dict)
    trims: bool = False


def open_source(settings: "Invert", device: torch.device) -> Source:
    """Return the network that is asked for: ours, or any other one.

    Raises
    ------
    UsageProblem
        A method decodes and there are no decoders, or none of a layer.
    ArtifactError
        A file or a parent is missing, damaged or another.
    """
    path, decodes = settings.reads(), settings.uses("decode")
    if settings.model is not None:
        if decodes:
            raise UsageProblem(
                f"--model {settings.model}: decode needs decode-train, which takes our own models; "
                f"choose from {', '.join(name for name in INVERSION.names() if name != 'decode')}"
            )
        subject = elsewhere(
            settings.model, settings.weights, path, device, settings.axes, settings.scores
        )
        corpus, said = subject.corpus, (subject.config, subject.notes)
        others = {n for sequence in settings.sequences() for n in sequence} - {"bp", "anneal"}
        if subject.trims and others:
            raise UsageProblem(
                f"--method {', '.join(others)}: whole recordings, of many lengths, take bp and "
                "anneal"
            )
        return Source(
            corpus.path, "corpus", subject.of_centred, corpus, {}, *said, trims=subject.trims
        )
    record = record_at(path)
    if decodes and record["kind"] != "decoder":
        raise UsageProblem(
            f"{path} is a {record['kind']}; --method {','.join(settings.method)} needs a decoder "
            "(speechscope decode-train)"
        )
    moved = {kind: to for kind, to in settings.moved().items() if kind != "decoder"}
    model = ancestor(path, record, "model", moved)
    trained = load_classifier(model)
    corpus = Corpus(ancestor(model, trained.checkpoint.record, "corpus", moved))
    network = trained.network.to(device)
    decoders = load_decoders(path, network) if decodes else {}
    inverses = load_inverses(path, network) if record["kind"] == "inverse" else {}
    for known, what, way in (
        (decoders, "decoders" if decodes else "", "decode-train"),
        (inverses, "inverses" if inverses else "", "decode-train --method regress"),
    ):
        missing = [n for n in map(network.resolve, settings.layer) if what and n not in known]
        if missing:
            raise UsageProblem(
                f"{path} has {what} for layers {', '.join(map(str, sorted(known)))}, not "
                f"{', '.join(map(str, missing))}; train them with {way} --layer"
            )
    return Source(path, record["kind"], network, corpus, decoders, inverses=inverses)


class Examples(Protocol):
    """Segments by their place where they come from.

    Attributes
    ----------
    kind
        ``corpus``, ``audio``, a kind of stimulus, or the name of another corpus.
    classes
        Names of the labels.
    labels, index
        Label and place of every segment, (N,); seeds depend on the place.
    speakers, speaker_names
        Who speaks each, (N,), and the names; None, () where nobody does.
    """

    kind: str
    classes: tuple[str, ...]
    labels: Items
    index: Items
    speakers: Items | None = None
    speaker_names: tuple[str, ...] = ()

    def inputs(self, index: Items) -> Float:
        """Return inputs (N, C, F, T), less the mean of the network's training items."""

    def waveforms(self, index: Items) -> Float:
        """Return segments (N, samples)."""

    def told(self, index: Items) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return class and speaker of segments, as the training corpus numbers them; -1: others."""


class CorpusExamples(Examples):
    """Items of a corpus, its own mean or another's taken away.

    Raises UsageProblem where the other corpus was prepared another way.
    """

    def __init__(self, corpus: Corpus, items: Items, trained: Corpus | None = None) -> None:
        self._corpus, self._trained = corpus, corpus if trained is None else trained
        self._mean = self._trained.mean
        self.speakers = corpus.artifact.read("speaker")[items].astype(np.int64)
        self.speaker_names = corpus.names("speaker")
        self.kind = "corpus" if trained is None else corpus.path.stem
        self.classes, self.index = corpus.classes, items
        self.labels = corpus.labels[items]
        if trained is not None and _preparation(corpus) != _preparation(trained):
            raise UsageProblem(
                f"--input {corpus.path} was prepared as {_preparation(corpus)}, "
                f"{trained.path} as {_preparation(trained)}; prepare it in the same way"
            )

    def __getstate__(self) -> dict[str, Any]:
        # Other processes are told which items they are to read.
        none: Items = np.empty(0, dtype=np.int64)
        return {**self.__dict__, "index": none, "labels": none, "speakers": none}

    def inputs(self, index: Items) -> Float:
        """See `Examples`."""
        values = self._corpus.centred(index)
        return values + (self._corpus.mean - self._mean)

    def lengths(self, index: Items) -> list[int]:
        """Return how long whole recordings are, in places along time."""
        return [int(length) for length in self._corpus.lengths(index)]

    def waveforms(self, index: Items) -> Float:
        """See `Examples`."""
        return sounds_of(self._corpus, index)

    def told(self, index: Items) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """See `Examples`."""
        labels = self._corpus.labels[index]
        speakers = self._corpus.artifact.read("speaker")[index].astype(np.int64)
        if self._corpus is self._trained:
            return labels, speakers
        known = {name: number for number, name in enumerate(self._trained.classes)}
        numbers = np.array([known.get(name, -1) for name in self._corpus.classes])
        return numbers[labels], np.full(len(index), -1)


def _preparation(corpus: Corpus) -> tuple[object, ...]:
    names = ("rate", "samples", "window", "overlap", "unit", "deltas", "normalize")
    return (corpus.features, *corpus.input_shape, *(corpus.config[name] for name in names))


class SoundExamples(Examples):
    """Segments held as waveforms (N, samples), all of one class.

    Where the corpus is z-normalised, each by itself, or all by the `scaling` of the utterance they
    were cut from.

    Raises UsageProblem where inputs of the corpus are not made from segments alone.
    """

    def __init__(
        self, waveforms: Float, name: str, kind: str, trained: Corpus, scaling: Scaling | None
    ) -> None:
        self._waveforms, self._trained, self.kind = waveforms, trained, kind
        self._scaling = scaling
        if trained.unit != "segment" or trained.config.get("duration"):
            raise UsageProblem(
                f"{trained.path} does not hold segments by their sound alone, which --audio and "
                "stimuli need (speechscope prepare --unit segment, without --duration)"
            )
        self.classes = ("".join(c if c.isalnum() or c in "-." else "_" for c in name),)
        self.index = np.arange(len(waveforms))
        self.labels = np.zeros(len(waveforms), dtype=np.int64)

    def inputs(self, index: Items) -> Float:
        """See `Examples`."""
        trained = self._trained
        values = trained.representation.segments(self._waveforms[index], self._scaling)
        return values - trained.mean

    def waveforms(self, index: Items) -> Float:
        """See `Examples`."""
        return self._waveforms[index]

    def told(self, index: Items) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """See `Examples`."""
        unknown = np.full(len(index), -1)
        return unknown, unknown


def examples_of(settings: "Invert", trained: Corpus) -> Examples:
    """Return what is asked for: a recording, stimuli, items of another corpus or of the first.

    Parameters
    ----------
    trained
        The corpus the network was trained on.

    Raises
    ------
    UsageProblem
        There is no such kind of stimulus, or it does not suit the corpus.
    SpeechscopeError
        The recording cannot be read.
    """
    given = settings.input
    if settings.audio is not None or (given is not None and Path(given).is_file()):
        return _some(recording(settings.audio or Path(str(given)), trained), settings)
    if given is not None and (given in STIMULI or not Path(given).exists()):
        if given not in STIMULI:
            known = ", ".join(STIMULI.names())
            raise UsageProblem(
                f"--input {given}: choose from {known}, or name a corpus, a recording or a folder "
                "of recordings"
            )
        sizes = trained.representation.transform
        sounds = make_stimuli(given, settings.count, sizes.samples, sizes.rate, settings.seed)
        return _some(SoundExamples(sounds, given, given, trained, None), settings)
    corpus = trained if given is None else Corpus(Path(given))
    items = choose(
        corpus,
        "test",
        ranges=None if settings.items is None else list(settings.items),
        everything=settings.all,
        count=settings.per_class,
        seed=settings.seed,
    )
    return CorpusExamples(corpus, items, None if given is None else trained)


def _some(sounds: SoundExamples, settings: "Invert") -> Examples:
    """Return those of sounds that are asked for: all, or the positions that are named."""
    if settings.items is not None:
        sounds.index = positions(sounds.index, sounds.kind, list(settings.items))
        sounds.labels = sounds.labels[sounds.index]
    return sounds


def recording(path: Path, trained: Corpus) -> SoundExamples:
    """Cut a recording into consecutive segments, the last padded with zeros.

    It is resampled, and brought to one loudness if the corpus was.

    Raises
    ------
    SpeechscopeError
        It cannot be read.
    """
    representation = trained.representation
    sizes = representation.transform
    try:
        samples, _ = read_audio(path, sizes.rate)
    except BadRecording as error:
        raise SpeechscopeError(f"{path}: {error}") from error
    if trained.config.get("normalize") == "gain":
        samples = samples / np.float32(GAIN_SCALE * np.sqrt(np.mean(np.square(samples))))
    count = -(-len(samples) // sizes.samples)
    padded = np.zeros((count, sizes.samples), dtype=np.float32)
    padded.reshape(-1)[: len(samples)] = samples
    scaling = representation.scaling(samples) if representation.normalize in SCOPES else None
    return SoundExamples(padded, path.stem, "audio", trained, scaling)


def training_segments(corpus: Corpus, most: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return centred inputs (N, C, F, T) and waveforms (N, samples) of some of the training split.

    They are held in memory, as they are read many times in random order; `most` bounds them.
    """
    pool = TrainingPool(corpus, most, seed)
    places = np.arange(len(pool.labels))
    return pool.inputs(places), pool.waveforms(places)


SAMPLED = 2048
"""Training items whose deviation stands for all (chosen)."""


class TrainingPool:
    """Items of the training split that controls choose from; read when they are asked for.

    Parameters
    ----------
    corpus
        The corpus.
    most, seed
        How many items at most, and which then.
    split
        Where they are from.
    """

    def __init__(self, corpus: Corpus, most: int, seed: int, split: str = "train") -> None:
        rng = np.random.default_rng([seed, 0xA116])
        self._corpus, self._items = corpus, np.sort(rng.permutation(corpus.items(split))[:most])
        self.labels = corpus.labels[self._items]
        self.speakers = corpus.artifact.read("speaker")[self._items].astype(np.int64)
        self.mean, self.signed = torch.from_numpy(corpus.mean), corpus.features == "real"
        self.rate = int(corpus.config["rate"])

    @cached_property
    def deviation(self) -> Tensor:
        """See `Pool`."""
        rng = np.random.default_rng(0)
        places = np.sort(rng.permutation(len(self._items))[:SAMPLED])
        return self.inputs(places).square().mean(0).sqrt()

    def inputs(self, places: NDArray[np.int64]) -> Tensor:
        """See `Pool`."""
        return torch.from_numpy(self._corpus.centred(self._items[places]))

    def waveforms(self, places: NDArray[np.int64]) -> Tensor:
        """Return segments, or windows (N, samples), of items by their places."""
        return torch.from_numpy(sounds_of(self._corpus, self._items[places]))


def sounds_of(corpus: Corpus, items: Items) -> Float:
    """Return the segments, or windows of the waveform (N, samples)."""
    if corpus.unit == "window":
        return corpus.view.read(items)[:, 0, 0]
    return corpus.waveforms(items)


def derivation(corpus: Corpus) -> Tensor | None:
    """Return the matrices (orders, T, T) that make a corpus' channels from its static ones.

    The channels of order o are static @ matrices[o]; the first is the identity. None where there
    are no Δ, and where every channel of an item is z-normalised by itself: then no fixed matrix
    leads from one to the other, and channels are reconstructed as if they were free.
    """
    orders = int(corpus.config["deltas"]) + 1 if corpus.unit == "segment" else 1
    if orders == 1 or corpus.config["normalize"] in SCOPES:
        return None
    matrices = [np.eye(corpus.input_shape[2], dtype=np.float32)]
    for _ in range(1, orders):
        matrices.append(delta(matrices[-1]))
    return torch.from_numpy(np.stack(matrices))


Waveform = NDArray[np.float32]

LOW, HIGH = 100.0, 6000.0
"""Range of the frequencies drawn [Hz]: that of speech, roughly (chosen)."""

LEVEL = 0.05
"""Root mean square while it sounds, about that of read speech (chosen)."""


@STIMULI.register("chirps")
def chirps(rng: np.random.Generator, time: NDArray[Any]) -> NDArray[Any]:
    """Return a sine that sweeps evenly between two random frequencies (sec. 7, fig. 8)."""
    first, last = np.exp(rng.uniform(np.log(LOW), np.log(HIGH), 2))
    phase = first * time + (last - first) * time**2 / (2 * time[-1])
    wave: NDArray[Any] = np.sin(2 * np.pi * (phase + rng.uniform()))
    return wave


@STIMULI.register("noise")
def noise(rng: np.random.Generator, time: NDArray[Any]) -> NDArray[Any]:
    """Return white noise."""
    return rng.normal(size=len(time))


@STIMULI.register("tones")
def tones(rng: np.random.Generator, time: NDArray[Any]) -> NDArray[Any]:
    """Return a sine of one random frequency."""
    frequency = np.exp(rng.uniform(np.log(LOW), np.log(HIGH)))
    wave: NDArray[Any] = np.sin(2 * np.pi * (frequency * time + rng.uniform()))
    return wave


@STIMULI.register("music-like")
def music_like(rng: np.random.Generator, time: NDArray[Any]) -> NDArray[Any]:
    """Return a major triad of decaying harmonic notes on a random semitone."""
    root = 110.0 * 2 ** (rng.integers(0, 25) / 12)
    wave = np.zeros(len(time))
    for interval in (0, 4, 7):
        for harmonic in range(1, 9):
            frequency = root * 2 ** (interval / 12) * harmonic
            decay = np.exp(-time * 6 * harmonic**0.5) / harmonic
            if frequency < HIGH:
                wave += decay * np.sin(2 * np.pi * (frequency * time + rng.uniform()))
    return wave


def make_stimuli(kind: str, count: int, samples: int, rate: int, seed: int) -> Waveform:
    """Return `count` sounds (count, samples) of a kind, each from a seed of its own.

    They last a random third to all of the segment, in its middle as the phones are, and are faded
    over 5 ms at both ends.

    Parameters
    ----------
    kind
        A key of `STIMULI`.
    samples
        Length of a segment [samples].
    rate
        Sampling rate [Hz].
    """
    out = np.zeros((count, samples), dtype=np.float32)
    for number, row in enumerate(out):
        rng = np.random.default_rng([seed, number])
        length = int(samples * rng.uniform(1 / 3, 1))
        wave = STIMULI[kind](rng, np.arange(length) / rate)
        wave *= LEVEL / np.sqrt(np.mean(np.square(wave)))
        fade = min(length // 2, int(0.005 * rate))
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / max(1, fade))
        wave[:fade] *= ramp
        wave[length - fade :] *= ramp[::-1]
        start = (samples - length) // 2
        row[start : start + length] = wave
    return out
