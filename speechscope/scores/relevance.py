"""The scores of `relevance.zarr`: how faithful each method is."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

from speechscope.corpus.seen import of_network, seen_by
from speechscope.corpus.store import Corpus
from speechscope.errors import ArtifactError, UsageProblem
from speechscope.features.distances import lost, partners
from speechscope.networks.layers import Network
from speechscope.networks.loading import RANDOM
from speechscope.networks.subject import Subject, elsewhere, subject_of
from speechscope.registry import SCORES
from speechscope.relevance.explain import Explained, explained, per_class, relevance_by, score
from speechscope.relevance.targets import target_of
from speechscope.scores.inversion import shaped_noise
from speechscope.scores.localisation import MEASURES, Regions
from speechscope.scores.statistics import Score as Items
from speechscope.scores.voices import OTHER, UNTRAINED, Voices, voices_of
from speechscope.store.artifact import Artifact
from speechscope.store.lineage import ancestor
from speechscope.store.record import file_digest
from speechscope.work.device import choose, sent
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

CEILINGS = {"deletion": 0.0, "insertion": 1.0, **dict.fromkeys(("sensitivity-n", *MEASURES), 1.0)}
Found = dict[str, NDArray[np.float64]]
"""What items get, under "", and what they get by chance, by its name, (N,) each."""
Values = dict[tuple[str, str], list[Found]]
"""By method and measure, block by block."""


@SCORES.register("relevance")
def relevance_scores(path: Path, settings: "Score") -> Iterator[Items]:
    """Yield a score for each method and measure.

    deletion (low is good) and insertion (high): mean probability of the target as the most
    relevant values are taken away, or given, with 0 and with other `fillings` in their place;
    sensitivity-n; by chance, the relevance that the same method finds in the same network with
    random weights. How much of it lies in the phone, at formants, bursts and in bands of hissing
    (`speechscope.scores.localisation`), by chance also with regions that were moved or exchanged.
    Agreement with every other method, with networks of other seeds, and with itself for random
    weights, which ought to be at chance: the agreement with the relevance of another item. Of
    waveforms, where Praat is installed: the share of vowels, by vowel and
    group, whose F0, F1 and F2 are those of the relevance signal (Muckenhirn 2019, table 2), by
    chance that for random weights; of speakers, whose vowels are not labelled, the share of voiced
    windows. Of LRP: the relevance at every layer over the score, 1 where no bias took any. Of a
    first layer for waveforms: where its filters together are strongest (eq. 1). The last two are
    descriptions, and have no chance.

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
    how = settings.recorded("relevance", artifact.record["config"])
    peers = {Path(one).name: _peer(Path(one), subject) for one in settings.seeds}
    voices = voices_of(artifact, subject)
    for start in range(0, len(artifact.read("target")), BLOCK):
        _measure(artifact, subject, peers, how, slice(start, start + BLOCK), values, voices)
    _conserved(artifact, values)
    if "cumulative_response" in artifact:
        peak = artifact.read("filter_frequency")[artifact.read("cumulative_response").argmax()]
        values["first layer", "strongest frequency [Hz]"] = [{"": np.array([peak])}]
    speakers = _speakers(subject.corpus, artifact.read("item_index"))
    for (method, measure), parts in values.items():
        found = _joined(parts)
        items = found.pop("")
        yield Items(
            {"artifact": path.name, "method": method, "measure": measure},
            items,
            found,
            CEILINGS.get(measure.split(",")[0].split(" by ")[0]),
            higher=not measure.startswith("deletion"),
            # What is of a layer has one value.
            speakers=speakers if len(speakers) == len(items) else None,
        )
    if voices is not None:
        yield from voices.scores({"artifact": path.name}, speakers)


def _speakers(corpus: Corpus, items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return who speaks each item, (N,)."""
    if corpus.unit == "utterance":  # of those, windows are explained, by their first frame
        items = np.searchsorted(corpus.artifact.read("input_offset"), items, "right") - 1
    return np.asarray(corpus.artifact.read("speaker")[items], dtype=np.int64)


def _joined(parts: Sequence[Found]) -> Found:
    """Return what items of all blocks get; NaN where a null says nothing of a block."""
    names = list(dict.fromkeys(name for part in parts for name in part))
    return {
        name: np.concatenate([part.get(name, np.full(len(part[""]), np.nan)) for part in parts])
        for name in names
    }


def _peer(path: Path, subject: Subject) -> Subject:
    """Return a network of another seed, with the items of the one that was explained.

    Raises
    ------
    UsageProblem
        It has other classes.
    """
    trained = (subject.trained or subject.corpus).path
    peer = subject_of(path, None, None, trained, subject.device)
    if peer.classes != subject.classes:
        raise UsageProblem(f"--seeds {path}: its classes are not those of the network explained")
    return peer if subject.trained is None else peer.looking_at(subject.corpus)


def _explained(artifact: Artifact, settings: "Score") -> Subject:
    """Return the network that was explained.

    Of one that is not ours the artifact holds its name and the digest of its weights; nothing that
    an artifact names is run because it does.
    """
    path, config, moved = artifact.path, artifact.record["config"], settings.moved()
    device, name = choose(settings.device), config.get("model")
    if name is None and settings.model is None:
        model = ancestor(path, artifact.record, "model", moved)
        return _seen(subject_of(model, None, None, moved.get("corpus"), device), artifact, moved)
    if name is None:
        raise UsageProblem(f"{path} explains a model of ours; leave out --model and --weights")
    if settings.model != name:
        raise UsageProblem(f"{path} explains {name}: name it by --model, and --weights")
    digest = None if settings.weights is None else file_digest(settings.weights)
    if digest != (None if config["weights"] == RANDOM else config["weights"]):
        raise ArtifactError(f"--weights: not those that {path} was made with")
    record = of_network(artifact.record) if "looked_at" in config else artifact.record
    corpus = ancestor(path, record, "corpus", moved)
    taken = settings.axes or config.get("axes"), settings.scores or config.get("scores") or None
    subject = elsewhere(name, settings.weights, corpus, device, *taken)
    subject = target_of(config.get("target", "predicted"), subject).subject
    return _seen(subject, artifact, moved)


def _seen(subject: Subject, artifact: Artifact, moved: Mapping[str, Path]) -> Subject:
    """Return a network with the speech that an artifact is of."""
    if "looked_at" not in artifact.record["config"]:
        return subject
    corpus = seen_by(artifact.path, artifact.record, moved)
    return subject.looking_at(corpus)


def _conserved(artifact: Artifact, values: Values) -> None:
    """Add the relevance at every layer over the score; Krug's rule scales it at every layer."""
    if "relevance_sum" not in artifact or artifact.record["config"]["rule"] == "krug":
        return
    score, sums = artifact.read("score").astype(np.float64), artifact.read("relevance_sum")
    clear = np.abs(score) > 1e-6 * np.abs(score).max()
    for layer, total in zip(artifact.flags("propagated_layer"), sums.T, strict=True):
        values["lrp", f"at {layer} over score"] = [{"": total[clear] / score[clear]}]


def _measure(
    artifact: Artifact,
    subject: Subject,
    peers: Mapping[str, Subject],
    settings: "Relevance",
    block: slice,
    values: Values,
    voices: Voices | None,
) -> None:
    config = artifact.record["config"]
    items = artifact.read("item_index", block)
    inputs = subject.inputs(items)
    target = torch.from_numpy(artifact.read("target", block).astype(np.int64)).to(inputs.device)
    network = explained(subject.network, inputs[:1], config["layer"])
    if config["layer"] is None:
        network = network.of_corpus(subject.corpus)
    x = network.enter(inputs)
    others = {
        UNTRAINED: randomised(subject.network, 0),
        **{f"seed {name}": peer.network for name, peer in peers.items()},
    }
    ways = {name: _alike(one, inputs, config["layer"], network) for name, one in others.items()}
    seeds = [mixed(artifact.record["seed"], int(item)) for item in items]
    methods = artifact.flags("technique")
    stored = artifact.read("relevance", (slice(None), block))
    relevance = [torch.from_numpy(part).to(x.device).view_as(x) for part in stored]
    filled = {
        name: network.enter(fill) for name, fill in fillings(subject, inputs, block.start).items()
    }

    def add(method: str, measure: str, items: NDArray[np.float64], chance: Found) -> None:
        items = _known(items, relevance[methods.index(method)])
        values.setdefault((method, measure), []).append({"": items, **chance})

    faithful = partial(_faithful, network.scores, x, target, filled, seeds)
    regions = _regions(artifact, subject, items, block)
    signals = {}
    for name, own in zip(methods, relevance, strict=True):
        found = {
            way: relevance_by(name, of, of.enter(inputs), target, settings, seeds)
            for way, of in ways.items()
        }
        random = found.pop(UNTRAINED)
        for (measure, got), (_, chance) in zip(faithful(own), faithful(random), strict=True):
            add(name, measure, got, {UNTRAINED: chance})
        if regions is not None:
            of_both = (part.cpu().numpy() for part in (own, random))
            for measure, got, nulls in regions.scores(*of_both):
                add(name, measure, got, nulls)
        add(name, "agreement with random weights", *agreeing(own, random))
        for way, theirs in found.items():
            got, nulls = agreeing(own, theirs)
            add(name, f"{way}: agreement", got, {**nulls, UNTRAINED: agreement(own, random)})
        signals[name] = own, random
    if voices is not None:
        voices.add(block.start, artifact.read("input", block), signals)
    for (first, a), (second, b) in combinations(zip(methods, relevance, strict=True), 2):
        add(first, f"agreement with {second}", *agreeing(a, b))


def _known(values: NDArray[np.float64], relevance: Tensor) -> NDArray[np.float64]:
    """Return what items get, NaN where their relevance is no number; others stay."""
    numbers = relevance.flatten(1).isfinite().all(1).cpu().numpy()
    return np.where(numbers, values, np.nan) if len(values) == len(numbers) else values


def _faithful(
    scores: "Scores",
    x: Tensor,
    target: Tensor,
    filled: Mapping[str, Tensor],
    seeds: Sequence[int],
    relevance: Tensor,
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield how faithful relevance is, by measure."""
    for name, fill in filled.items():
        curves = removal_curves(scores, x, target, relevance, steps=STEPS, fill=fill)
        for measure, curve in zip(("deletion", "insertion"), curves, strict=True):
            yield f"{measure} by {name}" if name else measure, area(curve)
    sums = sensitivity_n(scores, x, target, relevance, share=SHARE, samples=SETS, seeds=seeds)
    yield "sensitivity-n", sums


def _alike(network: nn.Module, inputs: Tensor, layer: str | None, of: Explained) -> Explained:
    """Return another network as what is explained, in the same way."""
    return replace(explained(network, inputs[:1], layer), axes=of.axes)


def _regions(
    artifact: Artifact, subject: Subject, items: NDArray[np.int64], block: slice
) -> Regions | None:
    """Return where relevance ought to lie; None where nothing says when a phone is."""
    config, corpus = artifact.record["config"], subject.corpus
    timed = "phone" in corpus.artifact
    at = str(config.get("target", "")).rpartition("@")[2].partition("-")[0]
    if config["layer"] is not None or (corpus.unit == "utterance" and not timed):
        return None
    if corpus.whole and not (timed and at.replace(".", "", 1).isdecimal()):
        return None
    names = artifact.flags("target")
    explained = [names[n] for n in artifact.read("target", block)]
    return Regions(corpus, items, explained, float(at) if corpus.whole else None)


def agreeing(first: Tensor, second: Tensor) -> tuple[NDArray[np.float64], Found]:
    """Return the agreement of two relevances (B, …), and that with other items', (B,)."""
    pairs = partners(len(first))
    others = [agreement(first, second[torch.from_numpy(pair)]) for pair in pairs]
    return agreement(first, second), {OTHER: lost(np.array(others), pairs)}


def fillings(subject: Subject, inputs: Tensor, seed: int) -> dict[str, Tensor]:
    """Return what takes the place of what is deleted from inputs, shaped as they, by its name.

    "": 0, the training mean of centred inputs. mean: the same of inputs that are not. silence: 0
    before the mean was taken away. noise: normal, with the mean and the deviation that these inputs
    have in each band; of waveforms in each frame and bin of their transform. another item: of them.
    """
    zeros = torch.zeros_like(inputs)
    mean = torch.from_numpy(subject.corpus.mean).to(inputs)
    if subject.corpus.unit == "window":
        noise = shaped_noise(inputs.flatten(1).cpu().numpy(), seed)
    else:
        across = inputs.double().cpu().numpy()
        drawn = np.random.default_rng(seed).normal(size=across.shape)
        axes = (0, across.ndim - 1)
        noise = across.mean(axes, keepdims=True) + drawn * across.std(axes, keepdims=True)
    pair = partners(len(inputs))
    other = inputs[torch.from_numpy(pair[0])] if len(pair) else zeros
    known = {"silence": zeros - mean} if subject.centred else {"mean": zeros + mean}
    made = torch.from_numpy(np.asarray(noise)).to(inputs).view_as(inputs)
    return {"": zeros, **known, "noise": made, "another item": other}


Scores = Callable[[Tensor], Tensor]


def removal_curves(
    network: Scores,
    x: Tensor,
    target: Tensor,
    relevance: Tensor,
    *,
    steps: int,
    fill: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the target's probability as the most relevant values are deleted, or inserted.

    Deletion sets values to those of the filling, the most relevant first; insertion starts from
    that and gives them back in the same order.

    Source: Petsiuk et al. (2018), sec. 3.4 (RISE); probabilities by softmax, as there.

    Parameters
    ----------
    network
        Gives scores (B, classes, …) before softmax.
    x
        Inputs (B, …).
    target
        Class of each item (B,).
    relevance
        Of the inputs, shaped as they.
    steps
        Portions the values are divided into.
    fill
        What takes their place, shaped as x; None: 0, the training mean of centred inputs.

    Returns
    -------
    (B, steps + 1) of each, of 0 to all values deleted, and inserted.
    """
    flat = x.flatten(1)
    empty = torch.zeros_like(flat) if fill is None else fill.flatten(1)
    rank = relevance.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    deletion: list[Tensor] = []
    insertion: list[Tensor] = []
    for step in range(steps + 1):
        first = rank < round(step * flat.shape[1] / steps)
        for kept, curve in ((~first, deletion), (first, insertion)):
            with torch.no_grad():
                scores = per_class(network(torch.where(kept, flat, empty).view_as(x)))
            curve.append(score(scores.softmax(1), target))
    return torch.stack(deletion, 1), torch.stack(insertion, 1)


def area(curve: Tensor) -> NDArray[np.float64]:
    """Return the mean height of each curve (B, points), by the trapezoidal rule, (B,)."""
    values = curve.double().cpu().numpy()
    mean: NDArray[np.float64] = (values[:, 1:] + values[:, :-1]).mean(1) / 2
    return mean


def sensitivity_n(
    network: Scores,
    x: Tensor,
    target: Tensor,
    relevance: Tensor,
    *,
    share: float,
    samples: int,
    seeds: Sequence[int],
) -> NDArray[np.float64]:
    """Return how well sums of relevance foretell what the score loses without those values.

    Pearson's correlation, for each item, between Σ_{i in S} R_i and S_c(x) − S_c(x without S) over
    random sets S of `share` of the values.

    Source: Ancona et al. (2018), sec. 4.2, sensitivity-n.

    Parameters
    ----------
    share
        Of the values in each set, above 0 and below 1.
    samples
        Sets.
    seeds
        One an item; the other parameters are those of `removal_curves`.

    Returns
    -------
    (B,); NaN where the score or the relevance does not vary.
    """
    flat, weights = x.flatten(1), relevance.flatten(1)
    count = max(1, round(share * flat.shape[1]))
    rngs = [np.random.default_rng(seed) for seed in seeds]
    sets = np.zeros((samples, *flat.shape), dtype=bool)
    for rows in sets:
        for row, rng in zip(rows, rngs, strict=True):
            row[rng.choice(len(row), count, replace=False)] = True
    sums, losses = [], []
    with torch.no_grad():
        full = score(network(x), target)
        for chosen in sent(torch.from_numpy(sets), x.device):
            sums.append((weights * chosen).sum(1))
            losses.append(full - score(network((flat * ~chosen).view_as(x)), target))
    first = torch.stack(sums, 1).double().cpu().numpy()
    second = torch.stack(losses, 1).double().cpu().numpy()
    return correlation(first, second)


def agreement(first: Tensor, second: Tensor) -> NDArray[np.float64]:
    """Return Spearman's rank correlation of two relevances (B, …) for each item, (B,).

    Source: Adebayo et al. (2018), sec. 3, who compare explanations so.
    """
    flat = [part.flatten(1).double().cpu().numpy() for part in (first, second)]
    return correlation(rankdata(flat[0], axis=1), rankdata(flat[1], axis=1))


def correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Pearson's correlation of the rows of two arrays (B, n), NaN where one is constant."""
    a = first - first.mean(1, keepdims=True)
    b = second - second.mean(1, keepdims=True)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    pearson: NDArray[np.float64] = np.where(
        scale > 0, (a * b).sum(1) / np.where(scale > 0, scale, 1), np.nan
    )
    return pearson


def randomised(network: nn.Module, seed: int) -> nn.Module:
    """Return a copy of a network with random weights, for a sanity check.

    An explanation that stays the same does not depend on what the network has learned.

    Source: Adebayo et al. (2018), sec. 3: all layers randomised.
    """
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    twin = copy.deepcopy(network).cpu()  # drawn there, the weights are the same on every device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(twin, Network):
            twin.reset_parameters()
        else:
            for module in twin.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
    return twin.to(device).eval().requires_grad_(False)
