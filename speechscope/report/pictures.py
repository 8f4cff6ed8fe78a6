"""How items of a corpus are seen and heard: levels in decibels, axes in Hz and ms, waveforms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus import store
from speechscope.corpus.store import Corpus
from speechscope.corpus.units import Indices, stretches
from speechscope.corpus.utterances import SPLITS
from speechscope.features.filterbanks import COMPRESSION
from speechscope.features.representations import SCOPES
from speechscope.features.stft import Stft
from speechscope.report.figures import (
    SECONDS,
    Axis,
    Cell,
    Chart,
    Picture,
    Scale,
    Sound,
    Values,
    axis_of,
)
from speechscope.store.artifact import Artifact

RANGE_DB = 60.0
"""What is softer than this below the loudest point is drawn as silence (chosen)."""
DECIBELS = Scale("level below the picture's loudest point [dB]", -RANGE_DB, 0.0)
DEVIATIONS = Scale("value, z-normalised [standard deviations]", -2.0, 3.0)
SHARES = Scale("value, of the picture's largest", -1.0, 1.0, "diverging")
ROWS = 104
"""Of a picture, as many as it has pixels (chosen)."""
TOP = 99.0
"""Percentile of the magnitudes that has the full colour: a few values are far above the rest."""
ROOTS = "{} over the picture's 99th percentile, by its square root"
WINDOW, HOP, POINTS = 0.025, 0.005, 512
"""Of the spectrograms of waveforms: frames of 25 ms every 5 ms [s], and samples (chosen)."""

POWER = {
    **dict.fromkeys(("real", "magnitude", "magnitude-phase", "complex"), 1.0),
    **{"sqrt-magnitude": 0.5, "mel": 2.0, "gammatone": COMPRESSION},
}
"""The power of the amplitude that a representation holds."""
LOG_POWER = {"log-mel": 2.0, "log-magnitude": 1.0}
"""The same of those that hold its natural logarithm."""


def decibels(size: Values, power: float = 1.0) -> Values:
    """Return levels below the largest magnitude [dB], no lower than `RANGE_DB` below it.

    Parameters
    ----------
    size
        Amplitudes to a power.
    power
        Of the amplitude.
    """
    magnitude = np.abs(size)
    loudest = float(magnitude.max(initial=0.0))
    if loudest == 0:
        return np.full(size.shape, -RANGE_DB)
    floor = 10 ** (-RANGE_DB / 20 * power) * loudest
    levels: Values = 20 / power * np.log10(np.maximum(magnitude, floor) / loudest)
    return levels


@dataclass(frozen=True)
class InputStyle:
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

    def picture(self, values: Values, sound: Sound | None = None, alt: str = "") -> Picture:
        """Return the picture of one input; of several channels, the amplitude they make up."""
        levels, scale = self.levels(values)
        return Picture(levels, self.time, self.frequency, scale, sound, alt)

    def levels(self, values: Values) -> tuple[Values, Scale]:
        """Return the values (frequency, time) that are drawn of one input, and their scale."""
        size = np.hypot(*values[:2]) if self.features == "complex" else values[0]
        if self.normalize in SCOPES:
            return size, DEVIATIONS
        if self.features in LOG_POWER:
            levels = size * (20 / np.log(10) / LOG_POWER[self.features])
            return np.maximum(levels - levels.max(initial=-np.inf), -RANGE_DB), DECIBELS
        if self.features in POWER:
            return decibels(size, POWER[self.features]), DECIBELS
        return size / (np.abs(size).max(initial=0.0) or 1.0), SHARES

    def grey(self, values: Values) -> Values:
        """Return the drawn values of one input from 0 to 1, as what other values lie on."""
        levels, scale = self.levels(values)
        grey: Values = np.clip((levels - scale.low) / (scale.high - scale.low), 0, 1)
        return grey


def axes_of(artifact: Artifact, rows: float = 1.0, columns: float = 1.0) -> tuple[Axis, Axis]:
    """Return the frequency and the time axis of an artifact; where it has none, rows or frames."""
    frequency, time = Axis("bin", "", 0.0, rows), Axis("frame", "", 0.0, columns)
    if "frequency" in artifact:
        hertz = artifact.attributes("frequency").get("units", "Hz") == "Hz"
        name, units = ("frequency", "Hz") if hertz else ("coefficient", "")
        frequency = axis_of(name, units, artifact.read("frequency"))
    if "time" in artifact:
        time = axis_of("time", "ms", artifact.read("time") * 1e3)
    return frequency, time


def reach(corpus: Corpus | None, rows: int, columns: int) -> tuple[Axis, Axis]:
    """Return how far rows reach in frequency and columns in time, where it is known."""
    frequency, time = Axis("bin", "", 0, rows), Axis("frame", "", 0, columns)
    if corpus is None or corpus.unit == "window":
        return frequency, time
    whole, count = axes_of(corpus.artifact)[0], len(corpus.artifact.read("frequency"))
    if rows == count:
        frequency = whole
    elif whole.units == "Hz" and not whole.centres:
        frequency = Axis("frequency", "Hz", 0, (whole.high - whole.low) / count * rows)
    return frequency, Axis("time", "ms", 0, 1e3 * hop(corpus) * columns)


def style_of(artifact: Artifact, corpus: Corpus | None) -> InputStyle:
    """Return how the inputs in an artifact are drawn.

    Parameters
    ----------
    artifact
        With the coordinates ``frequency`` and ``time`` of its inputs.
    corpus
        The one they are from; None where it is not there: amplitudes are assumed.
    """
    made: Mapping[str, Any] = {} if corpus is None else corpus.config
    features, normalize = made.get("features", "real"), made.get("normalize", "none")
    given = artifact.array("original" if "original" in artifact else "input")
    frequency, time = axes_of(artifact, *map(float, given.shape[-2:]))
    if "time" not in artifact and corpus is not None and corpus.unit != "window":
        time = Axis("time", "ms", 0.0, 1e3 * hop(corpus) * given.shape[-1])
    return InputStyle(str(features), str(normalize), frequency, time)


def hop(corpus: Corpus) -> float:
    """Return the time from frame to frame [s]."""
    return corpus.framing[0] / int(corpus.config["rate"])


def waveform_picture(
    samples: Values, rate: int, alt: str = "", seconds: float | None = SECONDS
) -> Picture:
    """Return the spectrogram of a waveform (n,), no longer than so many seconds."""
    most = len(samples) if seconds is None else int(seconds * rate)
    heard = np.asarray(samples[:most], dtype=np.float32)
    window = round(WINDOW * rate)
    if len(heard) < window:
        heard = np.pad(heard, (0, window - len(heard)))
    stft = Stft(len(heard), window, window - round(HOP * rate), POINTS, rate)
    frequency = axis_of("frequency", "Hz", stft.frequencies)
    style = InputStyle("magnitude", "none", frequency, axis_of("time", "ms", stft.times * 1e3))
    return style.picture(stft.magnitude(heard[None]), Sound(heard, rate), alt)


def sounding(values: Values) -> tuple[int, int]:
    """Return the first frame of an input (…, frame) that is no padding, and the one after the last.

    Padding is silence, and silence is frames that are all alike, whatever the representation.
    """
    frames = values.reshape(-1, values.shape[-1])

    def padding(frames: Values) -> int:
        alike = (frames == frames[:, :1]).all(axis=0)
        count = 0 if alike.all() else int(alike.argmin())
        return count if count > 1 or not frames[:, 0].any() else 0

    return padding(frames), frames.shape[1] - padding(frames[:, ::-1])


def longest(inputs: Iterable[Values]) -> int:
    """Return how many frames the longest sound in inputs has."""
    return max((last - first for first, last in map(sounding, inputs)), default=1)


def from_onset(shown: Cell, given: Values, frames: int) -> Cell:
    """Return so many frames of a cell from where the sound of its input begins, which is 0 then.

    Behind the end of the sound there is nothing.
    """
    first, last = sounding(given)
    first = min(first, max(0, given.shape[-1] - 1))
    part = slice(first, min(max(last, first + 1), first + frames))
    if isinstance(shown, Chart):
        lines = [
            replace(line, x=line.x[part] - line.x[part][:1], y=line.y[part]) for line in shown.lines
        ]
        return replace(shown, lines=lines)
    if shown is None or shown.values.shape[1] != given.shape[-1] or shown.x.centres:
        return shown
    step = (shown.x.high - shown.x.low) / shown.values.shape[1]
    room = ((0, 0), (0, max(0, frames - (part.stop - first))))
    under = None if shown.under is None else np.pad(shown.under[:, part], room)
    values = np.asarray(shown.values[:, part], dtype=np.float64)
    return replace(
        shown,
        values=np.pad(values, room, constant_values=np.nan),
        under=under,
        x=replace(shown.x, low=0.0, high=frames * step),
    )


def readable(
    values: Values, x: Axis, y: Axis, what: str, under: Values | None = None, **more: Any
) -> Picture:
    """Return a picture of values (rows, columns) of either sign of which few are large.

    Such are those of the real part of a spectrum, whose signs change from bin to bin: a picture of
    all of them, up to the largest, is nearly blank. A row of it is the strongest of the rows it
    stands for; colours are square roots, with their sign, over the `TOP` percentile.

    Parameters
    ----------
    what
        The values are.
    under : (rows, columns)
        See `Picture`.
    """
    strongest = pooled(values)
    size = np.abs(strongest)
    largest = float(np.percentile(size, TOP)) or float(size.max()) or 1.0
    roots = np.sign(strongest) * np.sqrt(size / largest)
    below = None if under is None else pooled(under)
    return Picture(roots, x, y, Scale(ROOTS.format(what), -1, 1, "diverging"), under=below, **more)


def pooled(values: Values) -> Values:
    """Return no more than `ROWS` rows: of neighbours the value that is largest, with its sign."""
    each = -(-len(values) // ROWS)
    whole = np.pad(values, ((0, -len(values) % each), (0, 0)), "edge")
    groups = whole.reshape(-1, each, values.shape[1])
    best = np.abs(groups).argmax(axis=1)[:, None]
    strongest: Values = np.take_along_axis(groups, best, axis=1)[:, 0]
    return strongest


def sound_in(artifact: Artifact, name: str, at: int | tuple[int, ...]) -> Sound | None:
    """Return a waveform of an artifact; None where it has none."""
    if name not in artifact:
        return None
    rate = int(artifact.attributes(name)["sampling_frequency"])
    return Sound(artifact.read(name, at), rate)


def sounds(corpus: Corpus, items: Indices) -> list[Sound]:
    """Return what one hears of items of a corpus, one each.

    A segment or window is heard as it is, a frame with its context, an utterance from its start.
    """
    rate = int(corpus.config["rate"])
    starts, stops = _samples(corpus, np.asarray(items, dtype=np.int64))
    stops = np.minimum(stops, starts + int(SECONDS * rate))
    heard = [Sound(np.zeros(1), rate)] * len(items)
    for row, samples in stretches(corpus.artifact, starts, stops):
        heard[row] = Sound(np.array(samples), rate)
    return heard


def _samples(corpus: Corpus, items: Indices) -> tuple[Indices, Indices]:
    """Return the samples [start, stop) of the waveform that items are heard by."""
    edges = corpus.artifact.read("waveform_offset")
    if corpus.unit in ("segment", "utterance"):
        return edges[items], edges[items + 1]
    utterance = corpus.artifact.read("utterance")[items]
    first, last = edges[utterance], edges[utterance + 1]
    start = first + corpus.artifact.read("start")[items]
    stop = first + corpus.artifact.read("stop")[items]
    if corpus.unit == "frame":
        around = int(corpus.config["context"]) // 2 * corpus.framing[0]
        start, stop = start - around, stop + around
    return np.maximum(start, first), np.minimum(stop, last)


def pictures(corpus: Corpus, items: Indices, names: Sequence[str]) -> list[Cell]:
    """Return what one sees, and hears, of items of a corpus, one each, described by `names`.

    Segments are shown from where they begin, without their padding.
    """
    heard = sounds(corpus, items)
    if corpus.unit == "window":
        return [
            waveform_picture(sound.samples, sound.rate, alt)
            for sound, alt in zip(heard, names, strict=True)
        ]
    style = style_of(corpus.artifact, corpus)
    inputs: Sequence[Values]
    if corpus.unit == "utterance":
        step = hop(corpus)
        inputs = [v[..., : int(SECONDS / step)] for v in corpus.utterance_inputs(items)]
        ends = [1e3 * step * values.shape[-1] for values in inputs]
        styles = [replace(style, time=Axis("time", "ms", 0.0, end)) for end in ends]
    else:
        inputs = list(corpus.view.read(np.asarray(items, dtype=np.int64)))
        styles = [style] * len(inputs)
    drawn = zip(styles, inputs, heard, names, strict=True)
    shown: list[Cell] = [style.picture(values, sound, alt) for style, values, sound, alt in drawn]
    if corpus.unit != "segment":
        return shown
    frames = longest(inputs)
    return [from_onset(cell, given, frames) for cell, given in zip(shown, inputs, strict=True)]


def spread(values: Sequence[int] | NDArray[np.integer], most: int) -> list[int]:
    """Return up to `most` of some values, evenly spread over them, in order."""
    if len(values) <= most:
        return [int(value) for value in values]
    places = np.linspace(0, len(values) - 1, most).round().astype(int)
    return [int(values[place]) for place in places]


def example_items(corpus: Corpus, most: int) -> NDArray[np.int64]:
    """Return up to `most` items of as many classes, of the test split where there is one."""
    for split in ("test", "dev", "train"):
        if (corpus.splits == SPLITS.index(split)).any():
            labelled = "label" in corpus.artifact
            items = store.per_class(corpus, split, 1, 0) if labelled else corpus.items(split)
            return np.array(spread(items, most), dtype=np.int64)
    return np.empty(0, dtype=np.int64)


def names_of(corpus: Corpus, items: Indices) -> list[str]:
    """Return what each item is in words: its class and recording, or what is said in it."""
    utterances = corpus.names("utterance")
    recordings = [utterances[number] for number in corpus.artifact.read("utterance")[items]]
    if "label" in corpus.artifact:
        spoken = [f"[{corpus.classes[label]}]" for label in corpus.labels[items]]
    else:
        texts = ("".join(corpus.classes[k] for k in text) for text in corpus.letters(items))
        spoken = [f"“{text.replace('|', ' ')}”" for text in texts]
    return [f"{text} of {recording}" for text, recording in zip(spoken, recordings, strict=True)]
