"""The scores of `navai.zarr`: what its patterns show, and whether alignment sharpens them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.letters import NAMES
from speechscope.registry import SCORES
from speechscope.scores.statistics import Score
from speechscope.scores.voices import DEVIATIONS, MEANS
from speechscope.store.artifact import Artifact

if TYPE_CHECKING:
    from speechscope.stages.score import Score as Settings


Patterns = NDArray[np.float32]
Measure = Callable[[str, Patterns, Patterns], float]
"""(class, pattern, pattern of shuffled classes) → value."""
Values = NDArray[np.float64]


@SCORES.register("navai")
def navai_scores(path: Path, settings: "Settings") -> Iterator[Score]:
    """Yield a score for each alignment and measure, a value a class.

    formant energy: of vowels, how much denser the positive energy of their pattern is where men's
    and women's formants lie (Hillenbrand et al. 1995) than between 200 and 4000 Hz at large; in
    others' bands: the same where the other vowels have theirs. burst: of plosives. width [ms] and
    strength: of all. By chance: the same measure of patterns whose inputs have changed classes
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
            yield Score(
                {"alignment": alignment, "measure": measure},
                value,
                {"shuffled classes": chance},
                higher=not measure.startswith("width"),
                beside={
                    **_mean("gain", None if still or plain is None else value - plain),
                    **_mean("beyond", None if still else value - cropped),
                },
            )


def _mean(name: str, values: Values | None) -> dict[str, float | None]:
    """Return a mean over classes with its interval; of one class there is none."""
    of = Score({}, np.empty(0) if values is None else values).figures()
    return {name: of["value"], f"{name}_low": of["low"], f"{name}_high": of["high"]}


def _measures(
    artifact: Artifact, classes: tuple[str, ...], step: float
) -> dict[str, tuple[list[str], Measure]]:
    """Return the measures that mean something here, each with the classes it is of."""
    measures: dict[str, tuple[list[str], Measure]] = {}
    letters = set(classes) <= set(NAMES)
    known = LETTER_VOWELS if letters else {vowel: vowel for vowel in MEANS["M"]}
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


def _profiles(artifact: Artifact) -> Iterator[Score]:
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
        yield Score({"layer": layer, "measure": "size of the profile over that of the mean"}, share)


Array = NDArray[np.floating]

AROUND = 0.025
"""Time on each side of a pattern's strongest frame that its spectrum is taken from [s] (chosen)."""
RANGE = (200.0, 4000.0)
"""Frequencies among which formants are looked for [Hz] (chosen)."""
APART = 0.03
"""A burst stands out from what is so long before and after it [s] (chosen)."""
NEAR = 0.05
"""And stands no farther from the middle [s] (chosen): of the 2 s that a letter's pattern has, some
moment is loud in any case."""

LETTER_VOWELS: Mapping[str, str] = {"a": "ae", "e": "eh", "i": "ih", "o": "aa", "u": "ah"}
"""The vowel a letter is most often short for (chosen: spelling does not say more)."""

PLOSIVES = ("b", "d", "g", "p", "t", "k")
"""As phones and as letters."""


def bands(vowel: str) -> tuple[tuple[float, float], ...]:
    """Return where F1 and F2 of a vowel lie, (low, high) [Hz] each.

    From the men's mean less their standard deviation to the women's mean and theirs.
    """
    return tuple(
        (
            MEANS["M"][vowel][n] - DEVIATIONS["M"][vowel][n],
            MEANS["F"][vowel][n] + DEVIATIONS["F"][vowel][n],
        )
        for n in (1, 2)
    )


def energy(pattern: Array) -> NDArray[np.float64]:
    """Return the energy of every frame, Σ_f P², (T,), of a pattern (F, T)."""
    return np.asarray(np.square(pattern, dtype=np.float64).sum(0))


def spectrum(pattern: Array, step: float) -> NDArray[np.float64]:
    """Return the mean of a pattern (F, T) over the frames around its strongest, (F,).

    That is the frame with the largest positive energy Σ_f max(P, 0)²: where a pattern is less than
    the others, as in a closure, it has no formants.

    Parameters
    ----------
    step
        From one frame to the next [s].
    """
    strongest = int(energy(np.maximum(pattern, 0)).argmax())
    reach = round(AROUND / step)
    part = pattern[:, max(0, strongest - reach) : strongest + reach + 1]
    return np.asarray(part.mean(1, dtype=np.float64))


def band_energy(
    pattern: Array, frequency: Array, step: float, bands: Sequence[tuple[float, float]]
) -> float:
    """Return how much denser a pattern's positive energy is in some bands than altogether.

        (Σ_B max(S, 0)² / Σ max(S, 0)²) / (|B| / |range|)

    with S its `spectrum`, over the bins in `RANGE`; 1 is chance. 0 where nothing is positive.

    Parameters
    ----------
    frequency
        Of the bins [Hz], (F,).
    bands
        (low, high) [Hz]. A band between two bins has the nearest.
    """
    within = (frequency >= RANGE[0]) & (frequency <= RANGE[1])
    inside = np.zeros_like(within)
    for low, high in bands:
        mine = (frequency >= low) & (frequency <= high)
        if not mine.any():
            mine[np.abs(frequency - (low + high) / 2).argmin()] = True
        inside |= mine
    inside &= within
    power = np.square(np.maximum(spectrum(pattern, step), 0))
    total = power[within].sum()
    if total == 0 or not inside.any():
        return 0.0
    return float(power[inside].sum() / total / (inside.sum() / within.sum()))


def burst(pattern: Array, step: float) -> float:
    """Return how much the loudest moment about the middle stands above what is before and after.

        max_t b(t) − (b(t − d) + b(t + d)) / 2, |t| ≤ `NEAR`,

    in units of the pattern's root mean square, b the mean over frequencies and d = `APART`.
    Krug 2018, sec. 4.3: "a quick change from lower to higher signal and back in the
    center". NaN where the pattern is shorter.

    Parameters
    ----------
    pattern
        (F, T).
    step
        From one frame to the next [s].
    """
    mean = pattern.mean(0, dtype=np.float64)
    apart = max(1, round(APART / step))
    size = float(np.sqrt(np.square(pattern, dtype=np.float64).mean()))
    if len(mean) <= 2 * apart or size == 0:
        return float("nan")
    rise = mean[apart:-apart] - (mean[: -2 * apart] + mean[2 * apart :]) / 2
    middle, reach = (len(rise) - 1) / 2, max(0.5, NEAR / step)
    near = np.abs(np.arange(len(rise)) - middle) <= reach
    return float(rise[near].max()) / size


def width(pattern: Array, step: float) -> float:
    """Return for how long a pattern (F, T) holds half the energy of its loudest frame [ms].

    Counted in whole frames, without a break around that frame.
    """
    energies = energy(pattern)
    loudest = int(energies.argmax())
    below = np.flatnonzero(energies < energies[loudest] / 2)
    first = below[below < loudest].max(initial=-1)
    last = below[below > loudest].min(initial=len(energies))
    return round(float(last - first - 1) * step * 1e3, 6)


def strength(pattern: Array, chance: Array) -> float:
    """Return the size of a pattern over that of what is left of it by chance, in rms."""
    size = float(np.sqrt(np.square(chance, dtype=np.float64).mean()))
    mine = float(np.sqrt(np.square(pattern, dtype=np.float64).mean()))
    return mine / size if size > 0 else float("nan")
