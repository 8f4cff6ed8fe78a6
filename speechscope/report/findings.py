"""What a page opens with: what was looked at, and of each artifact its main figure and chance."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from speechscope.report.figures import Chapter
from speechscope.scores.statistics import ABOVE, Row
from speechscope.scores.tables import part_of, sentences

SHARE, NUMBER = "{:.0f} %", "{:.3g}"
MAIN = {
    "phone named by the listener": ("of the phones, another network names right", SHARE),
    "manner of the phone": ("of the phones are heard with the right manner", SHARE),
    "accuracy": ("of the test sounds are named right", SHARE),
    "letter error rate": ("letter errors for each letter said", SHARE),
    "insertion": ("of the answer is back with the most relevant values alone", SHARE),
    "f_measure": ("F: how well the clusters are phones", NUMBER),
    "formant energy": ("of a vowel's pattern lies at its formants, over an even spread", NUMBER),
    "strength": ("strength of the patterns, over those of shuffled classes", NUMBER),
    "mxcorr": ("of a sound comes back from its spectrogram (cross-correlation)", NUMBER),
    "distance to the input": ("distance of what is restored to the input", NUMBER),
    "log bands [dB]": ("dB between the levels of bands learned and those of the sound", NUMBER),
    "spectrogram (mxcorr2)": ("likeness of spectrograms (cross-correlation)", NUMBER),
    "mismatch": ("mismatch at the layer; 0 is none", NUMBER),
}
"""The measure that stands for an artifact, the first of these it has: in plain words, and how it is
written (chosen)."""


@dataclass(frozen=True)
class Finding:
    """A row of the summary.

    `words` say what is counted, `part` of which layer and method where there are several, `row` is
    the score that stands for all, whose figures are written in a `form`.
    """

    chapter: Chapter
    sentence: str
    words: str = ""
    part: str = ""
    row: Row = field(default_factory=dict)
    form: str = NUMBER

    def written(self, name: str) -> str | None:
        """Return a figure of the row as it is written, None where there is none."""
        value = self.row.get(name)
        times = 100 if self.form == SHARE else 1
        return self.form.format(times * value) if isinstance(value, int | float) else None


def findings(chapters: Sequence[Chapter]) -> list[Finding]:
    """Return what each artifact shows, in order."""
    return [_finding(chapter) for chapter in chapters]


def _finding(chapter: Chapter) -> Finding:
    row, count = (chapter.main, 1) if chapter.main else main(chapter.scores)
    judged = [score for score in chapter.scores if "verdict" in score]
    said = " ".join(map(_unnamed, sentences(judged))) if judged else chapter.unscored
    if row is None:
        return Finding(chapter, said)
    words, form = MAIN.get(str(row["measure"]), (str(row["measure"]), NUMBER))
    part = f"the best of {count}: {part_of(row)}" if count > 1 else part_of(row)
    return Finding(chapter, said, words, part, dict(row), form)


def main(rows: Sequence[Row]) -> tuple[Row | None, int]:
    """Return the score that stands for all, and of how many it is furthest from chance."""
    for measure in MAIN:
        found = [row for row in rows if row.get("measure") == measure and _known(row)]
        if measure == "accuracy":  # over the folded classes, as papers count
            fewest = min((int(str(row["classes"])) for row in found), default=0)
            found = [row for row in found if row["classes"] == fewest]
        if found:
            best = max(found, key=lambda row: (row.get("verdict") == ABOVE, _way(row)))
            return best, len(found)
    return next((row for row in rows if _known(row) and row.get("verdict")), None), 1


def _known(row: Row) -> bool:
    return isinstance(row.get("value"), int | float)


def _way(row: Row) -> float:
    """Return how far a score is on the way from chance to its best."""
    value, chance, ceiling = (row.get(name) for name in ("value", "chance", "ceiling"))
    start = float(chance or 0.0)
    end = start + 1.0 if ceiling is None else float(ceiling)
    return (float(value or 0.0) - start) / ((end - start) or 1.0)


def _unnamed(sentence: str) -> str:
    """Return a sentence without the name of its artifact, which stands in the same row."""
    said = sentence.partition(": ")[2] or sentence
    return said[:1].upper() + said[1:]
