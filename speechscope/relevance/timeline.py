"""What a network answers along recordings, and what its answers rest on: as TextGrids and tables.

An item answers for the time around its middle, halfway to its neighbours; where items do not
meet, as phones with gaps between them, each for its own time. Where a network answers along an
item, those of its answers count that lie in that time, each for the time halfway to the next.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.export import Interval, answered, grid
from speechscope.corpus.store import Corpus
from speechscope.corpus.units import stretches
from speechscope.store.artifact import Artifact
from speechscope.store.wav import file_word, marked

BANDS = (0.0, 500.0, 1500.0, 3000.0, np.inf)
"""Edges of the bands of a TextGrid [Hz]: about those of F0 and F1, F2, F3, and frication
(chosen)."""
BLOCK = 1 << 21
"""Values read at a time, at least those of an item."""


@dataclass(frozen=True)
class Recording:
    """The answers along one recording.

    Parameters
    ----------
    name, rate, samples
        Of the recording; its rate as the network takes it [Hz].
    number
        Which of the corpus' recordings it is.
    items
        Positions in the artifact, in the order of their time, (n,).
    middle
        Of each [samples], (n,).
    start, stop
        What each answer is for [samples], (m,).
    answers
        The answers, m words: one an item, or more.
    probability
        Of each answer, (m,); NaN where scores are not those of classes.
    of
        The item of each answer, of `items`, (m,).
    """

    name: str
    rate: int
    samples: int
    number: int
    items: NDArray[np.int64]
    middle: NDArray[np.float64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    answers: list[str]
    probability: NDArray[np.float64]
    of: NDArray[np.int64]

    def runs(self) -> list[tuple[int, int, slice]]:
        """Return start, stop and rows of neighbours that meet and have the same answer."""
        runs: list[tuple[int, int, slice]] = []
        for row, answer in enumerate(self.answers):
            start, stop = int(self.start[row]), int(self.stop[row])
            if stop <= start:
                continue
            if runs and runs[-1][1] == start and self.answers[runs[-1][2].start] == answer:
                runs[-1] = runs[-1][0], stop, slice(runs[-1][2].start, row + 1)
            else:
                runs.append((start, stop, slice(row, row + 1)))
        return runs


def recordings(artifact: Artifact, corpus: Corpus) -> Iterator[Recording]:
    """Yield the answers in ``relevance.zarr`` along each recording of its corpus, in order.

    Raises
    ------
    ArtifactError
        One of the two is damaged.
    """
    utterance, starts, stops = _places(artifact, corpus)
    names, classes = corpus.names("utterance"), artifact.flags("predicted")
    predicted = artifact.read("predicted")
    given = "probability" in artifact
    probability = artifact.read("probability") if given else np.full(len(starts), np.nan)
    whole = corpus.unit != "segment"
    edges = corpus.artifact.read("waveform_offset") if whole else np.empty(0, np.int64)
    for number in np.unique(utterance):
        items = np.flatnonzero(utterance == number)
        items = items[np.argsort(starts[items] + stops[items], kind="stable")]
        start, stop = answered(starts[items], stops[items])
        answers, sure, of = predicted[items], probability[items], np.arange(len(items))
        if "answer" in artifact:
            spans = np.stack([starts[items], stops[items], start, stop], 1)
            start, stop, answers, sure, of = _outputs(artifact, items, spans)
        # What windows hold behind its end is not of the recording.
        samples = int(edges[number + 1] - edges[number] if whole else stops[items].max())
        yield Recording(
            names[number],
            int(corpus.config["rate"]),
            samples,
            int(number),
            items,
            (starts[items] + stops[items]) / 2,
            start,
            np.minimum(stop, samples),
            [classes[k] for k in answers],
            sure.astype(np.float64),
            of,
        )


def _outputs(
    artifact: Artifact, items: NDArray[np.int64], spans: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    """Return what each answer along items is for, from and to, the answer, its probability, whose.

    Parameters
    ----------
    spans : (n, 4), first and last sample of each item, and of the time it answers for.
    """
    step = float(artifact.attributes("answer")["samples_per_output"])
    answer, sure = (artifact.read_items(name, items) for name in ("answer", "answer_probability"))
    rows: list[tuple[NDArray[Any], ...]] = []
    for place, (begin, end, first, last) in enumerate(spans.tolist()):
        count = int((answer[place] >= 0).sum())
        # Answers lie in the middle of an item.
        middle = begin + (end - begin - count * step) / 2 + step * (np.arange(count) + 0.5)
        own = np.flatnonzero((first <= middle) & (middle < last))
        rows.append((middle[own], answer[place, own], sure[place, own], np.full(len(own), place)))
    columns = zip(*rows, strict=True)
    middle, answers, probability, of = (np.concatenate(column) for column in columns)
    edges = [np.rint(middle + side).astype(np.int64) for side in (-step / 2, step / 2)]
    return *answered(edges[0], edges[1]), answers, probability, of


def _places(artifact: Artifact, corpus: Corpus) -> tuple[NDArray[np.int64], ...]:
    """Return the recording of each item, and its first and last sample."""
    at, read = artifact.read("item_index"), corpus.artifact.read
    if not corpus.in_windows:
        return read("utterance")[at], read("start")[at], read("stop")[at]
    # Of a letter network an item is the window that begins with a frame.
    edges = read("input_offset")
    item = np.searchsorted(edges, at, side="right") - 1
    hop, _ = corpus.framing
    start = (at - edges[item]) * hop
    return read("utterance")[item], start, start + artifact.array("input").shape[-1] * hop


def _shares(artifact: Artifact) -> dict[str, NDArray[np.float64]]:
    """Return the share of |relevance| in each of `BANDS`, (item,), by method and band in words.

    None where there are no frequencies.
    """
    of_waveform = "spectral_relevance" in artifact
    name = "spectral_relevance" if of_waveform else "relevance"
    methods, count = artifact.flags("technique"), artifact.array(name).shape[1]
    hertz = "frequency" in artifact and artifact.attributes("frequency").get("units") == "Hz"
    if not hertz or artifact.record["config"].get("layer") is not None:
        return {}
    band = np.digitize(artifact.read("frequency"), BANDS[1:-1])
    sums = np.zeros((len(methods), len(BANDS) - 1, count))
    step = max(1, BLOCK * count // artifact.array(name).size)
    for first in range(0, count, step):
        part = slice(first, first + step)
        size = np.abs(artifact.read(name, (slice(None), part))).astype(np.float64)
        by_bin = size.sum(-1) if of_waveform else size.sum((2, 4))  # (method, item, bin)
        for number in range(len(BANDS) - 1):
            sums[:, number, part] = by_bin[..., band == number].sum(-1)
    total = sums.sum(1, keepdims=True)
    shares = np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
    edges = [f"{edge:g}" if np.isfinite(edge) else "…" for edge in BANDS]
    return {
        f"{method} {low}-{high} Hz": shares[m, b]
        for m, method in enumerate(methods)
        for b, (low, high) in enumerate(pairwise(edges))
    }


def write_recordings(path: Path, folder: Path, corpus: Corpus, *, force: bool) -> int:
    """Write a TextGrid and a table of every recording into a folder; return how many.

    The TextGrid has the tiers ``answer``, neighbours with the same answer as one, ``probability``
    and, for every method and band, the share of the relevance in it, means over the answer. The
    table has a row an item, with times in seconds.

    Raises
    ------
    UsageProblem
        The folder exists and may not be replaced.
    """
    artifact = Artifact(path, "relevance")
    shares, written = _shares(artifact), 0
    with marked(folder, path.name, force=force) as partial:
        for recording in recordings(artifact, corpus):
            values = {"probability": recording.probability}
            rows = recording.items[recording.of]
            values |= {name: share[rows] for name, share in shares.items()}
            name = file_word(recording.name)
            grid = textgrid(recording, values)
            (partial / f"{name}.TextGrid").write_text(grid, encoding="utf-8")
            _table(recording, values, partial / f"{name}.csv")
            written += 1
    return written


Columns = Mapping[str, NDArray[np.float64]]
"""What is said of every answer, (n,), by name."""


def _table(recording: Recording, values: Columns, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("start", "stop", "answer", *values))
        for row, answer in enumerate(recording.answers):
            times = (t[row] / recording.rate for t in (recording.start, recording.stop))
            table.writerow((*times, answer, *(f"{column[row]:.4f}" for column in values.values())))


def textgrid(recording: Recording, values: Columns) -> str:
    """Return the answers along a recording as a Praat TextGrid, its times exact to the sample."""
    runs = recording.runs()
    tiers: dict[str, list[Interval]] = {
        "answer": [(start, stop, recording.answers[rows.start]) for start, stop, rows in runs]
    }
    for name, column in values.items():
        tiers[name] = [(start, stop, f"{column[rows].mean():.3f}") for start, stop, rows in runs]
    end = max(recording.samples, *(stop for _, stop, _ in runs))
    return grid(tiers, end, recording.rate)


def sound(corpus: Corpus, number: int, most: int) -> NDArray[np.float32]:
    """Return the first `most` samples of a recording, silent where no segment is, (n,)."""
    read: Any = corpus.artifact.read
    edges, utterance = read("waveform_offset"), read("utterance")
    if corpus.unit != "segment":
        first, last = int(edges[number]), int(edges[number + 1])
        return np.asarray(read("waveform", slice(first, min(last, first + most))))
    items = np.flatnonzero(utterance == number)
    start, stop = read("start")[items], read("stop")[items]
    out = np.zeros(min(int(stop.max()), most), dtype=np.float32)
    items, start = items[start < most], start[start < most]
    for row, samples in stretches(corpus.artifact, edges[items], edges[items + 1]):
        part = samples[: most - int(start[row])]
        out[start[row] : start[row] + len(part)] = part
    return out
