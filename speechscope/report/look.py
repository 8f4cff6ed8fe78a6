"""How inputs of a corpus are seen and heard: levels in decibels, axes in Hz and ms, waveforms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.corpus.units import Indices, stretches
from speechscope.errors import ArtifactError
from speechscope.features.gammatone import COMPRESSION
from speechscope.features.representations import SCOPES
from speechscope.features.stft import Stft
from speechscope.report.figures import Axis, Picture, Scale, Sound, axis_of
from speechscope.report.media import SECONDS
from speechscope.store.artifact import Artifact
from speechscope.store.lineage import ancestor
from speechscope.store.record import Record

RANGE_DB = 60.0
"""What is softer than this below the loudest point is drawn as silence (chosen)."""
DECIBELS = Scale("level below the picture's loudest point [dB]", -RANGE_DB, 0.0)
DEVIATIONS = Scale("value, z-normalised [standard deviations]", -2.0, 3.0)
SHARES = Scale("value, of the picture's largest", -1.0, 1.0, "diverging")
WINDOW, HOP, POINTS = 0.025, 0.005, 512
"""Of the spectrograms of waveforms: frames of 25 ms every 5 ms [s], and samples (chosen)."""

POWER = {
    "real": 1.0,
    "magnitude": 1.0,
    "magnitude-phase": 1.0,
    "complex": 1.0,
    "sqrt-magnitude": 0.5,
    "mel": 2.0,
    "gammatone": COMPRESSION,
}
"""The power of the amplitude that a representation holds."""
LOG_POWER = {"log-mel": 2.0, "log-magnitude": 1.0}
"""The same of those that hold its natural logarithm."""


@dataclass(frozen=True)
class Look:
    """How inputs (channel, frequency, time) are drawn.

    Parameters
    ----------
    features, normalize
        Of the corpus.
    frequency, time
        The axes.
    """

    features: str
    normalize: str
    frequency: Axis
    time: Axis

    def picture(
        self, values: NDArray[np.floating[Any]], sound: Sound | None = None, alt: str = ""
    ) -> Picture:
        """Return the picture of one input; of several channels, the amplitude they make up."""
        seen, scale = self.levels(values)
        return Picture(seen, self.time, self.frequency, scale, sound, alt)

    def levels(self, values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.floating[Any]], Scale]:
        """Return the values (frequency, time) that are drawn of one input, and their scale."""
        size = np.hypot(*values[:2]) if self.features == "complex" else values[0]
        if self.normalize in SCOPES:
            return size, DEVIATIONS
        if self.features in LOG_POWER:
            return _below_loudest(size * (20 / np.log(10) / LOG_POWER[self.features])), DECIBELS
        if self.features not in POWER:
            return size / (np.abs(size).max(initial=0.0) or 1.0), SHARES
        magnitude = np.abs(size)
        loudest = float(magnitude.max(initial=0.0))
        if loudest == 0:
            return np.full(size.shape, -RANGE_DB), DECIBELS
        floor = 10 ** (-RANGE_DB / 20 * POWER[self.features]) * loudest
        levels = 20 / POWER[self.features] * np.log10(np.maximum(magnitude, floor) / loudest)
        return levels, DECIBELS

    def grey(self, values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return the drawn values of one input from 0 to 1, as what other values lie on."""
        seen, scale = self.levels(values)
        grey: NDArray[np.floating[Any]] = np.clip(
            (seen - scale.low) / (scale.high - scale.low), 0, 1
        )
        return grey


def _below_loudest(levels: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    below: NDArray[np.floating[Any]] = np.maximum(levels - levels.max(initial=-np.inf), -RANGE_DB)
    return below


def look_of(artifact: Artifact, config: Mapping[str, Any] | None) -> Look:
    """Return how the inputs in an artifact are drawn.

    Parameters
    ----------
    artifact
        With the coordinates ``frequency`` and ``time`` of its inputs.
    config
        Of the corpus they are from; None where it is not there: amplitudes are assumed.
    """
    made = config or {}
    units = str(artifact.attributes("frequency").get("units", "Hz")) if _has(artifact) else "Hz"
    name = "frequency" if units == "Hz" else "coefficient"
    frequency = _axis(artifact, "frequency", name, units if units == "Hz" else "", 1.0)
    return Look(
        str(made.get("features", "real")),
        str(made.get("normalize", "none")),
        frequency,
        _axis(artifact, "time", "time", "ms", 1e3),
    )


def _has(artifact: Artifact) -> bool:
    return "frequency" in artifact


def _axis(artifact: Artifact, name: str, shown: str, units: str, factor: float) -> Axis:
    if name in artifact:
        return axis_of(shown, units, artifact.read(name) * factor)
    return Axis("bin" if name == "frequency" else "frame", "", 0.0, 1.0)


def sized(axis: Axis, count: int) -> Axis:
    """Return an axis of unknown unit as one that counts `count` rows or columns from 0."""
    return replace(axis, high=float(count)) if axis.name in ("bin", "frame") else axis


def corpus_of(path: Path, record: Record, moved: Mapping[str, Path]) -> Corpus:
    """Open the corpus an artifact was made from.

    Raises
    ------
    ArtifactError
        It is not there, damaged or another.
    """
    return Corpus(ancestor(path, record, "corpus", moved))


def config_of(path: Path, record: Record, moved: Mapping[str, Path]) -> Mapping[str, Any] | None:
    """Return the settings of the corpus an artifact was made from; None if it is not there."""
    try:
        return corpus_of(path, record, moved).config
    except ArtifactError:
        return None


def waveform_picture(samples: NDArray[np.floating[Any]], rate: int, alt: str = "") -> Picture:
    """Return the spectrogram of a waveform (n,), no longer than what is heard of it."""
    heard = np.asarray(samples[: int(SECONDS * rate)], dtype=np.float32)
    window = round(WINDOW * rate)
    if len(heard) < window:
        heard = np.pad(heard, (0, window - len(heard)))
    stft = Stft(len(heard), window, window - round(HOP * rate), POINTS, rate)
    look = Look(
        "magnitude",
        "none",
        axis_of("frequency", "Hz", stft.frequencies),
        axis_of("time", "ms", stft.times * 1e3),
    )
    return look.picture(stft.magnitude(heard[None]), Sound(heard, rate), alt)


def heard(corpus: Corpus, items: Indices) -> list[Sound]:
    """Return what one hears of items of a corpus, one each.

    A segment or window is heard as it is, a frame with its context, an utterance from its start.
    """
    rate = int(corpus.config["rate"])
    starts, stops = _span(corpus, np.asarray(items, dtype=np.int64))
    stops = np.minimum(stops, starts + int(SECONDS * rate))
    found: list[Sound | None] = [None] * len(items)
    for row, samples in stretches(corpus.artifact, starts, stops):
        found[row] = Sound(np.array(samples), rate)
    return [sound if sound is not None else Sound(np.zeros(1), rate) for sound in found]


def _span(corpus: Corpus, items: Indices) -> tuple[Indices, Indices]:
    """Return the samples [start, stop) of the waveform that items are heard by."""
    edges = corpus.artifact.read("waveform_offset")
    if corpus.unit in ("segment", "utterance"):
        return edges[items], edges[items + 1]
    utterance = corpus.artifact.read("utterance")[items]
    first, last = edges[utterance], edges[utterance + 1]
    start = first + corpus.artifact.read("start")[items]
    stop = first + corpus.artifact.read("stop")[items]
    if corpus.unit == "frame":
        config = corpus.config
        around = int(config["context"]) // 2 * (int(config["window"]) - int(config["overlap"]))
        start, stop = start - around, stop + around
    return np.maximum(start, first), np.minimum(stop, last)


def pictures(corpus: Corpus, items: Indices, said: Sequence[str]) -> list[Picture]:
    """Return what one sees, and hears, of items of a corpus, one each, described by `said`."""
    sounds = heard(corpus, items)
    if corpus.unit == "window":
        return [
            waveform_picture(sound.samples, sound.rate, alt)
            for sound, alt in zip(sounds, said, strict=True)
        ]
    look = look_of(corpus.artifact, corpus.config)
    if corpus.unit != "utterance":
        inputs = corpus.view.read(np.asarray(items, dtype=np.int64))
        return [
            look.picture(values, sound, alt)
            for values, sound, alt in zip(inputs, sounds, said, strict=True)
        ]
    hop = (int(corpus.config["window"]) - int(corpus.config["overlap"])) / int(
        corpus.config["rate"]
    )
    found = []
    for values, sound, alt in zip(corpus.utterance_inputs(items), sounds, said, strict=True):
        shown = values[..., : int(SECONDS / hop)]
        time = Axis("time", "ms", 0.0, 1e3 * hop * shown.shape[-1])
        found.append(replace(look, time=time).picture(shown, sound, alt))
    return found
