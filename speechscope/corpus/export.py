"""A corpus for Praat: a TextGrid and a sound for every recording, a sound for every segment."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.store.wav import file_word, marked, write_folder

Interval = tuple[int, int, str]
"""First sample, the one after the last, and what is said."""


def write_sounds(corpus: Corpus, folder: Path, *, force: bool) -> int:
    """Write every segment as ``ITEM_LABEL.wav``, of other units every recording; return how many.

    Raises
    ------
    UsageProblem
        The folder exists and may not be replaced.
    """
    artifact, rate = corpus.artifact, int(corpus.config["rate"])
    edges = artifact.read("waveform_offset")
    if corpus.unit == "segment":
        names = [f"{n:06d}_{corpus.classes[k]}" for n, k in enumerate(corpus.labels)]
    else:
        names = list(corpus.names("utterance"))

    def sounds() -> Iterator[tuple[str, NDArray[np.float32]]]:
        for number in range(len(edges) - 1):
            part = slice(int(edges[number]), int(edges[number + 1]))
            if part.stop > part.start:
                yield names[number], artifact.read("waveform", part)

    return write_folder(sounds(), folder, rate, corpus.path.name, force=force)


def write_textgrids(corpus: Corpus, folder: Path, *, force: bool) -> int:
    """Write a TextGrid of the labels of every recording; return how many.

    Raises
    ------
    UsageProblem
        The folder exists and may not be replaced.
    """
    artifact, rate = corpus.artifact, int(corpus.config["rate"])
    utterance = artifact.read("utterance")
    starts, stops = artifact.read("start"), artifact.read("stop")
    tiers = [name for name in ("label", "label_folded") if name in artifact]
    said = {name: (corpus.names(name), artifact.read(name)) for name in tiers}
    numbers = np.unique(utterance)
    with marked(folder, corpus.path.name, force=force) as partial:
        for number in numbers:
            items = np.flatnonzero(utterance == number)
            items = items[np.argsort(starts[items] + stops[items], kind="stable")]
            start, stop = answered(starts[items], stops[items])
            end = int(stops[items].max())
            rows = {
                name: [
                    (int(a), int(b), names[k])
                    for a, b, k in zip(start, stop, labels[items], strict=True)
                    if b > a
                ]
                for name, (names, labels) in said.items()
            }
            if not tiers:
                edges = artifact.read("letter_offset")
                letters = artifact.read("letter", slice(int(edges[number]), int(edges[number + 1])))
                rows = {"text": [(0, end, spelt([corpus.classes[k] for k in letters]))]}
            name = file_word(corpus.names("utterance")[number])
            (partial / f"{name}.TextGrid").write_text(grid(rows, end, rate), encoding="utf-8")
    return len(numbers)


def spelt(letters: Sequence[str]) -> str:
    """Return letters as text; ``|`` stands between words."""
    return "".join(letters).replace("|", " ")


def answered(
    start: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the time that each item answers for, given those of the items in order."""
    start, stop = np.maximum(start, 0), stop.copy()
    meet = start[1:] <= stop[:-1]
    between = (start[:-1] + stop[:-1] + start[1:] + stop[1:]) // 4
    overlap = start[1:] < stop[:-1]
    edge = np.where(overlap, between, stop[:-1])
    stop[:-1] = np.where(meet, edge, stop[:-1])
    start[1:] = np.where(meet, edge, start[1:])
    return start, stop


def grid(tiers: Mapping[str, Sequence[Interval]], end: int, rate: int) -> str:
    """Return tiers as a Praat TextGrid, times exact to the sample."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += [f"xmin = 0\nxmax = {end / rate!r}\ntiers? <exists>\nsize = {len(tiers)}"]
    lines.append("item []:")
    for number, (name, intervals) in enumerate(tiers.items(), 1):
        filled = list(_filled(intervals, end))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f"        name = {_quoted(name)}",
            f"        xmin = 0\n        xmax = {end / rate!r}",
            f"        intervals: size = {len(filled)}",
        ]
        for place, (start, stop, text) in enumerate(filled, 1):
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {start / rate!r}",
                f"            xmax = {stop / rate!r}",
                f"            text = {_quoted(text)}",
            ]
    return "\n".join(lines) + "\n"


def _filled(intervals: Sequence[Interval], end: int) -> Iterator[Interval]:
    """Yield intervals with empty ones where there is none: a tier has no gaps."""
    at = 0
    for start, stop, text in intervals:
        if start > at:
            yield at, start, ""
        yield start, stop, text
        at = stop
    if at < end:
        yield at, end, ""


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
