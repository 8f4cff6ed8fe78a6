"""The chapter of ``corpus.zarr``: what there is of each class, examples, the round trip."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechscope.corpus.overview import overview
from speechscope.corpus.store import Corpus
from speechscope.corpus.utterances import SPLITS
from speechscope.registry import CHAPTERS
from speechscope.report import figures as fig
from speechscope.report.chapters import score_figures, scores_of
from speechscope.report.pictures import example_items, names_of, pictures
from speechscope.scores.statistics import Row

if TYPE_CHECKING:
    from speechscope.stages.report import Report

KEPT = {"real": "real part", "magnitude": "phase dropped", "complex": "phase kept"}
"""What the round trip calls a representation."""
UNITS = {"segment": "labelled sounds"}
"""What the reader calls them; frames, windows and utterances are these."""


@CHAPTERS.register("corpus")
def chapter(path: Path, settings: "Report") -> fig.Chapter:
    """Return the chapter: class counts by split, an example of some classes, the round trip.

    Raises
    ------
    ArtifactError
        The corpus is damaged.
    """
    corpus = Corpus(path)
    config = corpus.config
    recordings, speakers = (
        len(np.unique(corpus.artifact.read(name))) for name in ("utterance", "speaker")
    )
    facts = {
        "items": f"{len(corpus.splits):,} of unit {corpus.unit}",
        "recordings": f"{recordings:,} of {speakers:,} speakers, "
        f"{float(config.get('seconds', 0)) / 60:.1f} min",
        "features": f"{corpus.features}, {config['bins']} values a frame, deltas "
        f"{config['deltas']}, normalisation {config['normalize']}",
    }
    facts |= overview(corpus)
    figures: list[fig.Figure] = [_counts(corpus), _examples(corpus, settings.examples)]
    scores = scores_of(path, settings) if corpus.unit == "segment" else []
    if scores:
        figures += _round_trip(scores)
    kept = KEPT.get(corpus.features)
    own = [row for row in scores if (row["bins"], row["kept"]) == (config["bins"], kept)]
    looked = (
        f"{len(corpus.splits):,} {UNITS.get(corpus.unit, f'{corpus.unit}s')} from {recordings:,} "
        f"recordings of {speakers:,} speakers, {float(config.get('seconds', 0)) / 60:.1f} min"
    )
    main = own[0] if own else None
    return fig.Chapter(str(path), "corpus", facts, figures, looked=looked, scores=scores, main=main)


def _counts(corpus: Corpus) -> fig.Bars:
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
    return fig.Bars("classes", "Classes", note, shown, series, what)


def _examples(corpus: Corpus, most: int) -> fig.Gallery:
    items = example_items(corpus, most)
    names = names_of(corpus, items)
    cells = list(zip(names, pictures(corpus, items, names), strict=True)) if len(items) else []
    note = f"{len(cells)} of {len(corpus.splits):,} items, one a class where there are classes."
    return fig.Gallery("examples", "Examples", note, cells)


def _round_trip(rows: Sequence[Row]) -> list[fig.Figure]:
    note = (
        "Mean largest cross-correlation of waveforms with what comes back of them, by frequency "
        f"bins and by what is kept of the transform; {rows[0]['items']:,} items at most of the "
        "test split (Riemens 2015, table 1)."
    )
    lines = []
    for way in dict.fromkeys(row["kept"] for row in rows):
        bins, values = (
            np.array([row[name] for row in rows if row["kept"] == way], dtype=np.float64)
            for name in ("bins", "value")
        )
        lines.append(fig.Line(str(way), bins, values, points=True))
    chart = fig.Chart(lines, "frequency bins", "cross-correlation", alt="round trip by bins")
    return [fig.Plot("round-trip", "Round trip", note, [chart]), *score_figures(rows)]
