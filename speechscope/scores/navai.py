"""The scores of `navai.zarr`: what its patterns show, and whether alignment sharpens them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.letters import NAMES
from speechscope.navai.measures import (
    LETTER_VOWELS,
    MEANS,
    PLOSIVES,
    band_energy,
    bands,
    burst,
    strength,
    width,
)
from speechscope.registry import SCORES
from speechscope.scores.measures import bootstrap
from speechscope.scores.tables import Row
from speechscope.store.artifact import Artifact

if TYPE_CHECKING:
    from speechscope.stages.score import Score

Patterns = NDArray[np.float32]
Measure = Callable[[str, Patterns, Patterns], float]
"""(class, pattern, pattern of shuffled classes) → value."""
Values = NDArray[np.float64]


@SCORES.register("navai")
def navai_rows(path: Path, settings: "Score") -> Iterator[Row]:
    """Yield a row for each alignment and measure: means over classes, with bootstrap intervals.

    formant energy: of vowels, how much denser the positive energy of their pattern is where men's
    and women's formants lie (Hillenbrand et al. 1995) than between 200 and 4000 Hz at large; in
    others' bands: the same where the other vowels have theirs. burst: of plosives. width [ms] and
    strength: of all. ``shuffled`` is the same measure of patterns whose inputs have changed classes
    with each other; ``gain`` the difference from no alignment, class by class; ``beyond`` that from
    inputs that have changed their shifts with each other: cropped as much, but not to where it
    matters, since cropping alone makes a pattern narrow.
    Profiles have a row a layer: the size of the profiles over that of the mean over classes.

    Source: Krug 2018, sec. 4.3, which judges by eye; the measures are chosen here (`measures`).

    Raises
    ------
    ArtifactError
        It is damaged.
    """
    artifact = Artifact(path, "navai")
    if artifact.record["config"].get("mode") == "profile":
        yield from _profiles(artifact)
        return
    alignments, classes = artifact.flags("alignment"), artifact.flags("class")
    time = artifact.read("time")
    step = float(time[1] - time[0]) if len(time) > 1 else 1.0
    patterns = artifact.read("pattern")
    shuffled, moved = artifact.read("pattern_shuffled"), artifact.read("pattern_moved")
    for measure, (names, of) in _measures(artifact, classes, step).items():
        rows = [classes.index(name) for name in names]

        def over(a: int, patterns: Patterns, of: Measure, rows: list[int]) -> Values:
            return np.array([of(classes[k], patterns[a, k], shuffled[a, k]) for k in rows])

        plain = over(alignments.index("none"), patterns, of, rows) if "none" in alignments else None
        for a, alignment in enumerate(alignments):
            value, chance, cropped = (over(a, p, of, rows) for p in (patterns, shuffled, moved))
            still = alignment == "none"
            yield {
                "artifact": path.name,
                "alignment": alignment,
                "measure": measure,
                "classes": len(value),
                **_mean("", value),
                "shuffled": float(chance.mean()),
                **_mean("gain", None if still or plain is None else value - plain),
                **_mean("beyond", None if still else value - cropped),
            }


def _mean(name: str, values: Values | None) -> dict[str, float | None]:
    """Return a mean over classes with its interval; of one class there is none."""
    first, joint = (name, f"{name}_") if name else ("value", "")
    low, high = (None, None) if values is None or len(values) < 2 else bootstrap(values)
    mean = None if values is None else float(values.mean())
    return {first: mean, f"{joint}low": low, f"{joint}high": high}


def _measures(
    artifact: Artifact, classes: tuple[str, ...], step: float
) -> dict[str, tuple[list[str], Measure]]:
    """Return the measures that mean something here, each with the classes it is of."""
    measures: dict[str, tuple[list[str], Measure]] = {}
    letters = set(classes) <= set(NAMES)
    known = LETTER_VOWELS if letters else {vowel: vowel for vowel in MEANS}
    vowels = {name: known[name] for name in classes if name in known}
    plosives = [name for name in classes if name in PLOSIVES]
    hertz = "frequency" in artifact and artifact.attributes("frequency").get("units") == "Hz"
    if vowels and hertz:
        frequency, every = artifact.read("frequency"), dict.fromkeys(vowels.values())

        def energy(pattern: Patterns, vowel: str) -> float:
            return band_energy(pattern, frequency, step, bands(vowel))

        def elsewhere(name: str, pattern: Patterns, chance: Patterns) -> float:
            others = [vowel for vowel in every if vowel != vowels[name]]
            return float(np.mean([energy(pattern, vowel) for vowel in others]))

        measures["formant energy"] = list(vowels), lambda name, p, _: energy(p, vowels[name])
        if len(every) > 1:
            measures["formant energy in others' bands"] = list(vowels), elsewhere
    frames = artifact.array("pattern").shape[3]
    if plosives and hertz and np.isfinite(burst(np.eye(frames), step)):
        measures["burst of plosives"] = plosives, lambda _, p, chance: burst(p, step)
        measures["width of plosives [ms]"] = plosives, lambda _, p, chance: width(p, step)
    measures["width [ms]"] = list(classes), lambda _, p, chance: width(p, step)
    measures["strength"] = list(classes), lambda _, p, chance: strength(p, chance)
    return measures


def _profiles(artifact: Artifact) -> Iterator[Row]:
    layers: Mapping[str, str] = {
        name: name.removeprefix("profile_") for name in artifact if name.startswith("profile_")
    }
    order = artifact.record["config"].get("layers", list(layers.values()))
    for layer in sorted(layers.values(), key=list(order).index):
        profile = artifact.read(f"profile_{layer}").astype(np.float64)
        over = artifact.read(f"normalizer_{layer}").astype(np.float64)
        size = np.sqrt(np.square(profile.reshape(len(profile), -1)).mean(1))
        whole = float(np.sqrt(np.square(over).mean()))
        share = size / whole if whole > 0 else np.full(len(size), np.nan)
        low, high = bootstrap(share)
        yield {
            "artifact": artifact.path.name,
            "layer": layer,
            "measure": "size of the profile over that of the mean",
            "classes": len(share),
            "value": float(share.mean()),
            "low": low,
            "high": high,
        }
