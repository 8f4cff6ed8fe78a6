"""Feed `score` reconstructions that know nothing, or one thing alone, and count its verdicts.

    python tools/null_test.py model.pt --draws 200 --keep docs/results/nulls.csv

Test items are inverted by all methods into one artifact; every draw scores some of its items as
``speechscope score`` does. The controls know nothing of an item, so that every draw gives them to
items anew. ``its-f0`` is a buzz at the item's F0 and ``its-envelope`` one at a random F0 through
the item's spectral envelope, both of one length and level; ``same-class`` is the right phone of
another speaker; these are scored in the first tenth of the draws, and the papers' measures of waves
and spectrograms, which take longest, in the first fifth. What Praat measures is measured once.
"""

import argparse
import functools
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keep_results
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from speechscope.corpus.phones import NONE, features_of
from speechscope.corpus.store import Corpus
from speechscope.features import attributes
from speechscope.features.distances import partners
from speechscope.inversion import controls
from speechscope.inversion.problem import Problem, Reconstruction, at_most
from speechscope.inversion.sound import sound_of
from speechscope.registry import INVERSION
from speechscope.scores import inversion
from speechscope.scores.heard import Heard
from speechscope.scores.listener import kept
from speechscope.scores.statistics import ABOVE, AT, ENOUGH, FEW, LEVEL, Score, Sums, holm, rows_of
from speechscope.stages import invert, score
from speechscope.store.artifact import Artifact
from speechscope.store.lineage import ancestor, record_at
from speechscope.work.progress import SILENT

NOTHING = ("another", "random", "shaped-noise", "average")
ONE_THING = ("its-f0", "its-envelope", "same-class")
METHODS = (*NOTHING, *ONE_THING)
KEPT = 10
"""Draws after which shares are kept."""
Key = tuple[str, str, str, str]
"""Method, measure, test, verdict."""
ANY = "any of them"
LENGTH, LIFTER, NOISE = 0.1, 0.0015, (0.01, 0.3)
"""Of a buzz [s], of an envelope [s of quefrency], and the range of the noise in a buzz, which is
drawn so that a buzz does not tell how voiced the item is (chosen)."""

Sounds = NDArray[np.float64]


def register(corpus: Corpus) -> None:
    """Register the methods that are asked for here alone."""
    rate = int(corpus.config["rate"])

    def heard(problem: Problem) -> Sounds:
        inputs = controls._known(problem).inputs.numpy() + corpus.mean
        return sound_of(corpus, inputs, problem.seeds).astype(np.float64)

    def answered(problem: Problem, waves: Sounds) -> Reconstruction:
        waveforms = waves.astype(np.float32)
        x = torch.from_numpy(corpus.representation.segments(waveforms) - corpus.mean)
        found = controls._answer(problem, x)
        return replace(found, waveform=torch.from_numpy(waveforms))

    @INVERSION.register("another")
    @at_most(lambda settings: 0)
    def another(problem: Problem, start: object, settings: object) -> Reconstruction:
        inputs = controls._known(problem).inputs
        return controls._answer(problem, inputs[partners(len(inputs), problem.seeds[0])[0]])

    @INVERSION.register("its-f0")
    @at_most(lambda settings: 0)
    def its_f0(problem: Problem, start: object, settings: object) -> Reconstruction:
        waves, rng = heard(problem), np.random.default_rng(problem.seeds[0])
        f0 = attributes.pitch(waves, rate)[1]
        unvoiced = np.isnan(f0)
        f0[unvoiced] = rng.choice(f0[~unvoiced], unvoiced.sum())
        return answered(problem, coloured(rng, f0, envelopes(waves, rate).mean(0), rate))

    @INVERSION.register("its-envelope")
    @at_most(lambda settings: 0)
    def its_envelope(problem: Problem, start: object, settings: object) -> Reconstruction:
        waves, rng = heard(problem), np.random.default_rng(problem.seeds[0])
        f0 = np.exp(rng.uniform(np.log(90), np.log(260), len(waves)))
        return answered(problem, coloured(rng, f0, envelopes(waves, rate), rate))


def envelopes(waves: Sounds, rate: int) -> Sounds:
    """Return the smoothed log magnitudes (N, bins) of waveforms (N, samples)."""
    level = np.log(np.abs(np.fft.rfft(waves)) + 1e-6)
    cepstrum = np.fft.irfft(level, waves.shape[1])
    kept = round(LIFTER * rate)
    cepstrum[:, kept + 1 : -kept] = 0
    return np.asarray(np.fft.rfft(cepstrum).real)


def coloured(rng: np.random.Generator, f0: Sounds, envelope: Sounds, rate: int) -> Sounds:
    """Return buzzes (N, samples) at F0 (N,), of one level and length, through log envelopes."""
    samples = 2 * (envelope.shape[-1] - 1)
    phase = np.pi * (np.arange(samples) * f0[:, None] / rate + rng.uniform(size=(len(f0), 1)))
    harmonics = 2 * np.floor(rate / 2 / f0[:, None]) + 1
    buzz = np.sin(harmonics * phase) / (harmonics * np.sin(phase))  # all as strong
    buzz *= np.sqrt(samples / np.square(buzz).sum(1, keepdims=True))
    buzz += np.exp(rng.uniform(np.log(NOISE[0]), np.log(NOISE[1]), (len(f0), 1))) * rng.normal(
        size=buzz.shape
    )
    sound = np.fft.irfft(np.fft.rfft(buzz) * np.exp(envelope - envelope.max(-1, keepdims=True)))
    silent = np.abs(np.arange(samples) - samples / 2) > LENGTH * rate / 2
    sound[:, silent] = 0
    return np.asarray(0.05 * sound / np.sqrt(np.square(sound).mean(1, keepdims=True)))


class Drawn(Artifact):
    """Some items of an inversion, its arrays in memory, with what knows nothing given out anew."""

    def hold(self) -> "Drawn":
        """Read all arrays of items, and measure what is to be heard."""
        of_items = {name: self.dims(name) for name in self if "item" in self.dims(name)}
        self._held = {name: self.read(name) for name in of_items}
        self._by_method = {name for name, dims in of_items.items() if "technique" in dims}
        self._heard: dict[tuple[str, int | None], Heard] = {}
        for m in range(len(METHODS)):
            self._heard["waveform", m] = self._measured(m)
        for name in ("waveform_original", "waveform_round_trip"):
            self._heard[name, None] = self._measured(None, name)
        # Formants are those of vowels.
        vowels = np.array(features_of(self.flags("label"))["height"]) != NONE
        for name in ("F1", "F2"):
            original = self._heard["waveform_original", None].values[name]
            original[~vowels[self._held["label"]]] = np.nan
        return self

    def _measured(self, method: int | None, name: str = "waveform") -> Heard:
        waves = self._held[name] if method is None else self._held[name][method, 0]
        print(f"measuring {name if method is None else METHODS[method]}", flush=True)
        rate = int(self.attributes("waveform")["sampling_frequency"])
        return Heard.of(iter([(waves, np.ones(len(waves), dtype=bool))]), rate, praat=True)

    def draw(self, rng: np.random.Generator, count: int) -> None:
        """Choose other items, and of every method what each of them gets."""
        every = len(self._held["label"])
        self.rows = np.sort(rng.permutation(every)[:count])
        given = [rng.permutation(every)[:count] for _ in NOTHING]
        self.given = [*given, *(self.rows for _ in ONE_THING)]

    def array(self, name: str) -> Any:
        """See `Artifact`: of the items that were drawn."""
        found = super().array(name)
        if name != "original" or not hasattr(self, "rows"):
            return found
        return SimpleNamespace(shape=(len(self.rows), *found.shape[1:]))

    def read(self, name: str, selection: Any = ()) -> NDArray[Any]:
        """See `Artifact`: of the items that were drawn."""
        if not hasattr(self, "rows") or name not in self._held:
            return super().read(name, selection)
        if name not in self._by_method:
            return np.asarray(self._held[name][self.rows][selection])
        method, layer, *items = selection
        rows = self.rows if name.startswith("mismatch") else self.given[method]
        held = self._held[name][method, layer][rows]
        return np.asarray(held[items[0]] if items else held)

    def heard(self, name: str, place: tuple[int, ...]) -> Heard:
        """Return what was measured of originals, round trip, or what a method gave the items."""
        rows = self.given[place[0]] if place else self.rows
        every = self._heard[name, place[0] if place else None]
        return Heard(every.mel[rows], {key: values[rows] for key, values in every.values.items()})


def verdicts(scores: Sequence[Score]) -> Iterator[tuple[str, str, str]]:
    """Yield (measure, test, verdict): of each by itself, of each among all, and of any of all."""
    rows = [next(rows_of([one])) for one in scores]
    together = holm([np.nan if row["p"] is None else float(row["p"]) for row in rows])
    above = [
        p < LEVEL and int(row["items"] or 0) >= ENOUGH
        for p, row in zip(together, rows, strict=True)
    ]
    for row, one in zip(rows, above, strict=True):
        alone = str(row["verdict"])
        yield str(row["measure"]), "alone", alone
        yield str(row["measure"]), "of all", ABOVE if one else FEW if alone == FEW else AT
    yield ANY, "of all", ABOVE if any(above) else AT


def share(counts: Counter[Key], key: Key) -> tuple[int, int]:
    """Return in how many draws there was a verdict, and of how many."""
    return counts[key], sum(counts[(*key[:3], verdict)] for verdict in (ABOVE, AT, FEW))


def lines(counts: Counter[Key]) -> Iterator[dict[str, object]]:
    """Yield a line a method, measure, test and verdict: its share of the draws."""
    for method, measure, test in dict.fromkeys(key[:3] for key in counts):
        for verdict in (ABOVE, AT, FEW):
            count, draws = share(counts, (method, measure, test, verdict))
            interval = stats.binomtest(count, draws).proportion_ci()
            yield {
                "subject": f"method={method}; test={test}; verdict={verdict}",
                "measure": measure,
                "value": f"{count / draws:.6g}",
                "low": f"{interval.low:.6g}",
                "high": f"{interval.high:.6g}",
                "n": draws,
            }


def show(counts: Counter[Key]) -> None:
    """Print the share of the draws above chance by measure and method, as docs/reading.md has it.

    Of a measure by itself; of any of them after correction.
    """
    print("| |", " | ".join(METHODS), "|")
    print("| --- |", " | ".join("---" for _ in METHODS), "|")
    for measure in dict.fromkeys(key[1] for key in counts):
        cells = []
        for method in METHODS:
            test = "of all" if measure == ANY or method in ONE_THING else "alone"
            count, draws = share(counts, (method, measure, test, ABOVE))
            cells.append(f"{count / draws:.3f}")
        print(f"| {measure} |", " | ".join(cells), "|")


def main() -> None:
    """Count verdicts, print the share above chance and keep all shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--items", type=int, default=64, help="of a draw")
    parser.add_argument("--per-class", type=int, default=8, help="items to draw from")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--corpus", default="synthetic", help="recorded or synthetic")
    given = parser.parse_args()
    corpus = Corpus(ancestor(given.model, record_at(given.model), "corpus"))
    register(corpus)
    began, counts = datetime.now(UTC), Counter[Key]()
    about: dict[str, object] = {
        "corpus": given.corpus, "artifact": "nulls", "seed": 0,
        "command": " ".join(["python tools/null_test.py", *sys.argv[1:]]),
        "made": began.isoformat(timespec="seconds"),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inversion.zarr"
        made = invert.Invert(
            source=given.model, layer=("1",), method=METHODS, per_class=given.per_class,
            output=path, workers=1,
        )  # fmt: skip
        invert.run(made, SILENT)
        settings = score.Score(artifacts=(path,))
        score.listen(settings, path, record_at(path), SILENT)
        artifact = Drawn(path, "inversion").hold()
        listener = kept(corpus.path)
        best: dict[str, float | None] = {}
        for owner, name, instead in (
            (inversion, "_judges", functools.cache(inversion._judges)),
            (inversion.Inversion, "_heard", lambda self, *of: self.artifact.heard(*of)),
            (Sums, "interval", lambda self: (np.nan, np.nan)),  # verdicts need none
        ):
            setattr(owner, name, instead)
        for draw in range(given.draws):
            artifact.draw(np.random.default_rng(draw), given.items)
            found = inversion.Inversion(artifact, corpus)
            if listener is not None:
                found.hear_by(listener, settings)
            best = found.ceilings() if not draw else best
            if draw >= given.draws // 5:
                setattr(found, "_compared", lambda place, items: {})  # noqa: B010
            for m, method in enumerate(METHODS):
                if method in ONE_THING and draw >= max(1, given.draws // 10):
                    continue
                scores = [
                    replace(one, ceiling=best.get(str(one.names["measure"])))
                    for one in found.scores((m, 0))
                    if one.chance
                ]
                counts.update((method, *verdict) for verdict in verdicts(scores))
            print(f"{draw + 1} of {given.draws}", flush=True)
            if given.keep is not None and (draw + 1) % KEPT == 0:
                about["seconds"] = round((datetime.now(UTC) - began).total_seconds())
                keep_results.write(given.keep, [{**about, **line} for line in lines(counts)])
    show(counts)


if __name__ == "__main__":
    main()
