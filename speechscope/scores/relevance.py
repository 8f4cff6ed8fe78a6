"""The scores of `relevance.zarr`: how faithful each method is."""

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import ArtifactError, UsageProblem
from speechscope.networks.subject import Subject, elsewhere, subject_of
from speechscope.registry import SCORES
from speechscope.relevance import voice
from speechscope.relevance.explain import explained, relevance_by
from speechscope.scores.faithfulness import (
    agreement,
    area,
    randomised,
    removal_curves,
    sensitivity_n,
)
from speechscope.scores.measures import interval
from speechscope.scores.tables import Row
from speechscope.store.artifact import Artifact
from speechscope.store.lineage import ancestor
from speechscope.store.record import file_digest
from speechscope.work.device import choose
from speechscope.work.tasks import mixed

if TYPE_CHECKING:
    from speechscope.stages.relevance import Relevance
    from speechscope.stages.score import Score

BLOCK = 64
"""Items worked on at a time."""
STEPS = 20
"""Portions of deletion and insertion (chosen: the curves are smooth by then)."""
SHARE, SETS = 0.1, 50
"""Of sensitivity-n (chosen): a tenth of the values, 50 random sets."""

Values = dict[tuple[str, str], list[NDArray[np.float64]]]


@SCORES.register("relevance")
def relevance_rows(path: Path, settings: "Score") -> Iterator[Row]:
    """Yield a row for each method and measure, with the mean over items and its interval.

    deletion (low is good) and insertion (high): mean probability of the target as the most
    relevant values are taken away, or given; sensitivity-n; agreement with every other method; and
    agreement with itself for the same network with random weights, which ought to be near 0. Of
    waveforms, where Praat is installed: the share of vowels, by vowel and group, whose F0, F1 and
    F2 are those of the relevance signal (Muckenhirn 2019, table 2), beside the same for random
    weights; of speakers, whose vowels are not labelled, the share of voiced windows. Of LRP: the
    relevance at every layer over the score, 1 where no bias took any. Of a first layer for
    waveforms: where its filters together are strongest (eq. 1).

    Raises
    ------
    UsageProblem
        The network is not ours and not given, or another than the one explained.
    ArtifactError
        It or a parent is missing, damaged or another.
    """
    artifact = Artifact(path, "relevance")
    subject = _explained(artifact, settings)
    values: Values = {}
    for start in range(0, len(artifact.read("target")), BLOCK):
        _measure(artifact, subject, slice(start, start + BLOCK), values)
    _conserved(artifact, values)
    if "cumulative_response" in artifact:
        peak = artifact.read("filter_frequency")[artifact.read("cumulative_response").argmax()]
        values["first layer", "strongest frequency [Hz]"] = [np.array([peak])]
    for (method, measure), parts in values.items():
        items = np.concatenate(parts)
        mean, low, high = interval(items)
        yield {
            "artifact": path.name,
            "method": method,
            "measure": measure,
            "items": len(items),
            "value": mean,
            "low": low,
            "high": high,
        }


def _explained(artifact: Artifact, settings: "Score") -> Subject:
    """Return the network that was explained.

    Of one that is not ours the artifact holds its name and the digest of its weights; nothing that
    an artifact names is run because it does.
    """
    path, config, moved = artifact.path, artifact.record["config"], settings.moved()
    device, name = choose(settings.device), config.get("model")
    if name is None and settings.model is None:
        model = ancestor(path, artifact.record, "model", moved)
        return subject_of(model, None, None, moved.get("corpus"), device)
    if name is None:
        raise UsageProblem(f"{path} explains a model of ours; leave out --model and --weights")
    if settings.model != name:
        raise UsageProblem(f"{path} explains {name}: name it by --model, and --weights")
    digest = None if settings.weights is None else file_digest(settings.weights)
    if digest != config["weights"]:
        raise ArtifactError(f"--weights: not those that {path} was made with")
    corpus = ancestor(path, artifact.record, "corpus", moved)
    return elsewhere(name, settings.weights, corpus, device)


def _conserved(artifact: Artifact, values: Values) -> None:
    """Add the relevance at every layer over the score; Krug's rule scales it at every layer."""
    if "relevance_sum" not in artifact or artifact.record["config"]["rule"] == "krug":
        return
    score, sums = artifact.read("score").astype(np.float64), artifact.read("relevance_sum")
    clear = np.abs(score) > 1e-6 * np.abs(score).max()
    for layer, total in zip(artifact.flags("propagated_layer"), sums.T, strict=True):
        values["lrp", f"at {layer} over score"] = [total[clear] / score[clear]]


def _measure(artifact: Artifact, subject: Subject, block: slice, values: Values) -> None:
    config = artifact.record["config"]
    items = artifact.read("item_index", block)
    inputs = subject.inputs(items)
    target = torch.from_numpy(artifact.read("target", block).astype(np.int64)).to(inputs.device)
    network = explained(subject.network, inputs[:1], config["layer"])
    x = network.enter(inputs)
    twin = explained(randomised(subject.network, 0), inputs[:1], config["layer"])
    shuffled = twin.enter(inputs)
    seeds = [mixed(artifact.record["seed"], int(item)) for item in items]
    methods = artifact.flags("method")
    stored = artifact.read("relevance", (slice(None), block))
    relevance = [torch.from_numpy(part).to(x.device).view_as(x) for part in stored]
    # Records from before there were shifts have none.
    settings = cast("Relevance", SimpleNamespace(**{"shifts": 1, **config}))

    def add(method: str, measure: str, items: NDArray[np.float64]) -> None:
        values.setdefault((method, measure), []).append(items)

    signals = {}
    for name, own in zip(methods, relevance, strict=True):
        deletion, insertion = removal_curves(network.scores, x, target, own, steps=STEPS)
        add(name, "deletion", area(deletion))
        add(name, "insertion", area(insertion))
        sums = sensitivity_n(network.scores, x, target, own, share=SHARE, samples=SETS, seeds=seeds)
        add(name, "sensitivity-n", sums)
        random: Tensor = relevance_by(name, twin, shuffled, target, settings, seeds)
        add(name, "agreement with random weights", agreement(own, random))
        signals[name], signals[f"{name}, random weights"] = own, random
    if subject.corpus.unit == "window" and config["layer"] is None and voice.available():
        _voices(artifact, subject, block, signals, add)
    for (first, a), (second, b) in combinations(zip(methods, relevance, strict=True), 2):
        add(first, f"agreement with {second}", agreement(a, b))


def _voices(
    artifact: Artifact,
    subject: Subject,
    block: slice,
    signals: Mapping[str, Tensor],
    add: Callable[[str, str, NDArray[np.float64]], None],
) -> None:
    """Compare pitch and formants of the vowels among some waveforms with those of relevance."""
    rate = int(subject.corpus.config["rate"])
    names, of_speakers = artifact.flags("label"), subject.corpus.config["labels"] == "speaker"
    waveforms, labels = artifact.read("input", block), artifact.read("label", block)
    for row, label in enumerate(labels):
        vowel = None if of_speakers else names[label]
        if vowel is not None and vowel not in voice.DEVIATIONS["M"]:
            continue
        original = voice.measured(waveforms[row], rate)
        if not np.isfinite(original[0]):
            continue  # not voiced
        for method, relevance in signals.items():
            heard = voice.measured(relevance[row].flatten().cpu().numpy(), rate)
            group, right = voice.shared(original, heard, vowel)
            for quantity, same in zip(voice.QUANTITIES, right, strict=True):
                for part in ("voiced",) if vowel is None else ("all vowels", vowel):
                    add(method, f"{quantity} of {part}, {group}", np.array([same]))
