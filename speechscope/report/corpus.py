"""The chapter of ``corpus.zarr``: what there is of each class, examples, the round trip."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus import store
from speechscope.corpus.store import Corpus
from speechscope.corpus.utterances import SPLITS
from speechscope.registry import SCORES
from speechscope.report.figures import Bars, Chapter, Chart, Figure, Gallery, Line, Plot, Table
from speechscope.report.look import pictures
from speechscope.report.request import Request, number, spread


def chapter(path: Path, request: Request) -> Chapter:
    """Return the chapter: class counts by split, an example of some classes, the round trip.

    Raises
    ------
    ArtifactError
        The corpus is damaged.
    """
    corpus = Corpus(path)
    config = corpus.config
    facts = {
        "items": f"{len(corpus.splits):,} of unit {corpus.unit}",
        "recordings": f"{_distinct(corpus, 'utterance'):,} of {_distinct(corpus, 'speaker'):,} "
        f"speakers, {float(config.get('seconds', 0)) / 60:.1f} min",
        "features": f"{corpus.features}, {config['bins']} values a frame, deltas "
        f"{config['deltas']}, normalisation {config['normalize']}",
    }
    dropped = {name: count for name, count in config.get("dropped", {}).items() if count}
    if dropped:
        facts["left out"] = ", ".join(f"{number(count)} {name}" for name, count in dropped.items())
    figures: list[Figure] = [_counts(corpus), _examples(corpus, request)]
    if corpus.unit == "segment":
        figures += _round_trip(path, request)
    return Chapter(str(path), "corpus", facts, figures)


def _distinct(corpus: Corpus, name: str) -> int:
    return len(np.unique(corpus.artifact.read(name)))


def _counts(corpus: Corpus) -> Bars:
    names = corpus.classes
    if "label" in corpus.artifact:
        labels, splits, what = corpus.labels, corpus.splits, "items"
    else:
        letters = corpus.letters(np.arange(len(corpus.splits)))
        labels = np.concatenate([np.empty(0, np.int64), *letters])
        splits, what = np.repeat(corpus.splits, [len(text) for text in letters]), "letters"
    series = {
        split: np.bincount(labels[splits == index], minlength=len(names)).tolist()
        for index, split in enumerate(SPLITS)
        if (splits == index).any()
    }
    note = f"{what.capitalize()} of each class, by split: {len(labels):,} in all."
    shown = ["space" if name == "|" else name for name in names]
    return Bars("classes", "Classes", note, shown, series, what)


def example_items(corpus: Corpus, most: int) -> NDArray[np.int64]:
    """Return up to `most` items of as many classes, of the test split where there is one."""
    occurring = [split for split in ("test", "dev", "train") if _has(corpus, split)]
    if not occurring:
        return np.empty(0, dtype=np.int64)
    if "label" in corpus.artifact:
        found = store.per_class(corpus, occurring[0], 1, 0)
    else:
        found = corpus.items(occurring[0])
    return np.array(spread(found, most), dtype=np.int64)


def names_of_items(corpus: Corpus, items: NDArray[np.int64]) -> list[str]:
    """Return what each item is in words: its class and recording, or what is said in it."""
    utterances = corpus.names("utterance")
    where = [utterances[number] for number in corpus.artifact.read("utterance")[items]]
    if "label" in corpus.artifact:
        what = [f"[{corpus.classes[label]}]" for label in corpus.labels[items]]
    else:
        texts = corpus.letters(items)
        said = ["".join(corpus.classes[k] for k in text).replace("|", " ") for text in texts]
        what = [f"“{text}”" for text in said]
    return [f"{one} of {place}" for one, place in zip(what, where, strict=True)]


def _has(corpus: Corpus, split: str) -> bool:
    return bool((corpus.splits == SPLITS.index(split)).any())


def _examples(corpus: Corpus, request: Request) -> Gallery:
    items = example_items(corpus, request.examples)
    said = names_of_items(corpus, items)
    cells = list(zip(said, pictures(corpus, items, said), strict=True)) if len(items) else []
    note = f"{len(cells)} of {len(corpus.splits):,} items, one a class where there are classes."
    return Gallery("examples", "Examples", note, cells)


def _round_trip(path: Path, request: Request) -> list[Figure]:
    rows: list[dict[str, Any]] = [dict(row) for row in SCORES["corpus"](path, request)]
    note = (
        "Mean largest cross-correlation of waveforms with what comes back of them, by frequency "
        f"bins and by what is kept of the transform; {rows[0]['items']:,} items at most of the "
        "test split (Riemens 2015, table 1)."
    )
    ways = list(dict.fromkeys(str(row["kept"]) for row in rows))
    lines = [
        Line(
            way,
            np.array([row["bins"] for row in rows if row["kept"] == way], dtype=np.float64),
            np.array([_value(row) for row in rows if row["kept"] == way]),
            points=True,
        )
        for way in ways
    ]
    chart = Chart(lines, "frequency bins", "cross-correlation", alt="round trip by bins")
    headings = ("bins", "kept", "items", "mxcorr", "published", "source")
    cells = [[row[name] for name in headings] for row in rows]
    return [
        Plot("round-trip", "Round trip", note, [chart]),
        Table("round-trip-table", "Round trip in figures", "", headings, cells, closed=True),
    ]


def _value(row: dict[str, Any]) -> float:
    return float("nan") if row["mxcorr"] is None else float(row["mxcorr"])
