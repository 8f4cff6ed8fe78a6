"""The scores of `relevance.zarr`: how faithful each method is."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechscope.corpus.seen import of_network, seen_by
from speechscope.corpus.store import Corpus
from speechscope.errors import ArtifactError, UsageProblem
from speechscope.features.distances import lost, partners
from speechscope.networks.layers import Network, bytes_each
from speechscope.networks.loading import RANDOM
from speechscope.networks.subject import Subject, elsewhere, subject_of, together
from speechscope.registry import SCORES
from speechscope.relevance.explain import Explained, explained, per_class, relevance_by, score
from speechscope.relevance.targets import parted, target_of
from speechscope.scores.inversion import shaped_noise
from speechscope.scores.localisation import MEASURES, Regions
from speechscope.scores.statistics import OTHER, UNTRAINED, Done
from speechscope.scores.statistics import Score as Items
from speechscope.scores.voices import Voices, voices_of
from speechscope.store.artifact import Artifact
from speechscope.store.lineage import ancestor
from speechscope.store.record import file_digest
from speechscope.work.device import choose, fetched, fitting, seeded, sent
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
def relevance_scores(path: Path, settings: "Score") -> Iterator[Items | Done]:
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
    peers = {f"seed {Path(one).name}": _peer(Path(one), subject).network for one in settings.seeds}
    others = {UNTRAINED: randomised(subject.network, 0), **peers}
    voices = voices_of(artifact, subject)
    each = bytes_each(subject.network, subject.corpus.input_shape)
    step = fitting(BLOCK, each, subject.device)
    count = len(artifact.read("target"))
    for start in range(0, count, step):
        yield Done(start, count)
        _measure(artifact, subject, others, how, slice(start, start + step), values, voices)
    _conserved(artifact, values)
    if "cumulative_response" in artifact:
        peak = artifact.read("filter_frequency")[artifact.read("cumulative_response").argmax()]
        values["first layer", "strongest frequency [Hz]"] = [{"": np.array([peak])}]
    speakers = _speakers(subject.corpus, artifact.read("item_index"))
    for (method, measure), parts in values.items():
        found = _joined(parts)
        items = found.pop("")
        yield Items(
            {"method": method, "measure": measure},
            items,
            found,
            CEILINGS.get(measure.split(",")[0].split(" by ")[0]),
            higher=not measure.startswith("deletion"),
            # What is of a layer has one value.
            speakers=speakers if len(speakers) == len(items) else None,
        )
    if voices is not None:
        yield from voices.scores(speakers)


def _speakers(corpus: Corpus, items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return who speaks each item, (N,)."""
    if corpus.in_windows:
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


@dataclass(frozen=True)
class Part:
    """Items that are given to networks together: all of a block, or a recording as long as it is.

    Parameters
    ----------
    rows
        Which of the block they are.
    ofs
        What is explained, of the network ("") and others by name.
    inputs, x
        (B, …), and what is explained of them.
    fills
        What takes the place of what is deleted from x, by name.
    """

    rows: slice
    ofs: Mapping[str, Explained]
    inputs: Tensor
    x: Tensor
    target: Tensor
    seeds: Sequence[int]
    fills: Mapping[str, Tensor]

    @classmethod
    def of(
        cls, subject: Subject, networks: Mapping[str, nn.Module], layer: str | None, rows: slice,
        inputs: Tensor, target: Tensor, seeds: Sequence[int], fills: Mapping[str, Tensor],
    ) -> "Part":  # fmt: skip
        """Return a part of a block, with fillings (B, …) of all of it."""
        size, ofs = inputs.shape[-1], dict[str, Explained]()
        for name, network in networks.items():
            taking = replace(subject, network=network).taking(inputs)  # type: ignore[arg-type]
            of = explained(taking, inputs[:1], layer)
            ofs[name] = of if layer else of.of_corpus(subject.corpus).along(size)
        enter = ofs[""].enter
        filled = {name: enter(fill[rows][..., :size]) for name, fill in fills.items()}
        return cls(rows, ofs, inputs, enter(inputs), target, seeds, filled)

    def here(self, values: Tensor) -> Tensor:
        """Return what of values (B, …) of the whole block is of this part."""
        return values[(self.rows, *map(slice, self.x.shape[1:]))]

    def relevance(self, method: str, way: str, settings: "Relevance") -> Tensor:
        """Return the relevance by a method in one of the networks."""
        of = self.ofs[way]
        x = of.enter(self.inputs)
        return relevance_by(method, of, x, self.target, settings, self.seeds)

    def faithful(self, relevance: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield how faithful relevance (B, …) of the whole block is here, by measure."""
        told = self.ofs[""].scores, self.x, self.target
        return _faithful(*told, self.fills, self.seeds, self.here(relevance))


def _parts(
    artifact: Artifact, subject: Subject, others: Mapping[str, nn.Module], block: slice
) -> list[Part]:
    """Return the items of a block as the network that was explained, and others, are given them."""
    items, device = artifact.read("item_index", block), subject.device
    here = torch.from_numpy(subject.values(items))
    target = sent(artifact.read("target", block).astype(np.int64), device)
    sizes = subject.corpus.lengths(items) if subject.trims else None
    made = fillings(subject, here, block.start, sizes)
    fills = dict(zip(made, sent(torch.stack([*made.values()]), device), strict=True))
    seeds = [mixed(artifact.record["seed"], int(item)) for item in items]
    told = {"": subject.network, **others}, artifact.record["config"]["layer"]
    return [
        Part.of(subject, *told, rows, given, target[rows], seeds[rows], fills)
        for rows, given in subject.parts(sent(here, device), items)
    ]


def _measure(
    artifact: Artifact,
    subject: Subject,
    others: Mapping[str, nn.Module],
    settings: "Relevance",
    block: slice,
    values: Values,
    voices: Voices | None,
) -> None:
    """Add what the items of a block get to `values`; a device is waited for once."""
    layer = artifact.record["config"]["layer"]
    items = artifact.read("item_index", block)
    parts = _parts(artifact, subject, others, block)
    stored = artifact.read("relevance", (slice(None), block))
    shape = subject.corpus.input_shape if layer is None else stored.shape[2:]
    relevance = sent(stored, subject.device).view(len(stored), len(items), *shape)

    def ranks_of(values: Tensor) -> Tensor:
        ranks = [ranked(part.here(values)).view_as(part.x) for part in parts]
        return together(ranks, shape).flatten(1)

    found: dict[tuple[str, str], dict[str, Tensor]] = {}
    methods, untrained = artifact.flags("technique"), []
    ranks = [ranks_of(own) for own in relevance]
    for name, own, rank in zip(methods, relevance, ranks, strict=True):
        theirs = {
            way: together([part.relevance(name, way, settings) for part in parts], shape)
            for way in others
        }
        random = theirs.pop(UNTRAINED)
        untrained.append(random)
        faithful = [zip(part.faithful(own), part.faithful(random), strict=True) for part in parts]
        for rows in zip(*faithful, strict=True):
            got, chance = (torch.cat([row[n][1] for row in rows]) for n in (0, 1))
            found[name, rows[0][0][0]] = {"": got, UNTRAINED: chance}
        other = ranks_of(random)
        found[name, "agreement with random weights"] = agreeing(rank, other)
        by_chance = {UNTRAINED: agreement(rank, other)}
        for way, one in theirs.items():
            found[name, f"{way}: agreement"] = {**agreeing(rank, ranks_of(one)), **by_chance}
    for (first, a), (second, b) in combinations(zip(methods, ranks, strict=True), 2):
        found[first, f"agreement with {second}"] = agreeing(a, b)
    counted = [one for of_measure in found.values() for one in of_measure.values()]
    *numbers, random_weights = fetched([*counted, torch.stack(untrained)])
    left = iter(numbers)
    scored = {key: {null: next(left) for null in nulls} for key, nulls in found.items()}
    of_both = dict(zip(methods, zip(stored, random_weights, strict=True), strict=True))
    _put(scored, of_both, _regions(artifact, subject, items, block), values)
    if voices is not None:
        voices.add(block.start, artifact.read("input", block), of_both)


def _put(
    scored: Mapping[tuple[str, str], Found],
    of_both: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    regions: Regions | None,
    values: Values,
) -> None:
    """Add what items get, and where relevance lies: NaN where it is no number."""
    pairs = partners(len(next(iter(of_both.values()))[0]))
    for method, (own, random) in of_both.items():
        known = np.isfinite(own).reshape(len(own), -1).all(1)
        rows = [(measure, nulls) for (name, measure), nulls in scored.items() if name == method]
        if regions is not None:
            for measure, got, nulls in regions.scores(own, random):
                rows.append((measure, {"": got, **nulls}))
        for measure, nulls in rows:
            chance = {n: lost(v, pairs) if v.ndim > 1 else v for n, v in nulls.items()}
            chance[""] = np.where(known, chance[""], np.nan)
            values.setdefault((method, measure), []).append(chance)


def _faithful(
    scores: "Scores",
    x: Tensor,
    target: Tensor,
    filled: Mapping[str, Tensor],
    seeds: Sequence[int],
    relevance: Tensor,
) -> Iterator[tuple[str, Tensor]]:
    """Yield how faithful relevance is, by measure."""
    for name, fill in filled.items():
        curves = removal_curves(scores, x, target, relevance, steps=STEPS, fill=fill)
        for measure, curve in zip(("deletion", "insertion"), curves, strict=True):
            yield f"{measure} by {name}" if name else measure, area(curve)
    sums = sensitivity_n(scores, x, target, relevance, share=SHARE, samples=SETS, seeds=seeds)
    yield "sensitivity-n", sums


def _regions(
    artifact: Artifact, subject: Subject, items: NDArray[np.int64], block: slice
) -> Regions | None:
    """Return where relevance ought to lie; None where nothing says when a phone is."""
    config, corpus = artifact.record["config"], subject.corpus
    timed = "phone" in corpus.artifact
    if config["layer"] is not None or (corpus.unit == "utterance" and not timed):
        return None
    names = artifact.flags("target")
    _, time = parted(str(config.get("target", "")), names)
    if corpus.whole and not (timed and time):
        return None
    explained = [names[n] for n in artifact.read("target", block)]
    return Regions(corpus, items, explained, time[0] if corpus.whole and time else None)


def agreeing(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Return the `agreement` of ranks (B,), under "", and that with other items', (pairings, B)."""
    pairs = sent(partners(len(first)), first.device)
    others = [agreement(first, second[pair]) for pair in pairs]
    whole = torch.stack(others) if others else first.new_empty(0, len(first))
    return {"": agreement(first, second), OTHER: whole}


def fillings(
    subject: Subject, inputs: Tensor, seed: int, sizes: NDArray[np.int64] | None = None
) -> dict[str, Tensor]:
    """Return what takes the place of what is deleted from inputs on the CPU, by its name.

    "": 0, the training mean of centred inputs. mean: the same of inputs that are not. silence: 0
    before the mean was taken away. noise: normal, with the mean and the deviation that these inputs
    have in each band, of recordings as far as they go (N,); of waveforms in each frame and bin of
    their transform. another item: of them.
    """
    zeros = torch.zeros_like(inputs)
    mean = torch.from_numpy(subject.corpus.mean).to(inputs)
    if subject.corpus.unit == "window":
        noise = shaped_noise(inputs.flatten(1).numpy(), seed)
    else:
        across = inputs.double().numpy()
        drawn = np.random.default_rng(seed).normal(size=across.shape)
        if sizes is not None:
            there = np.arange(across.shape[-1]) < sizes[:, None, None, None]
            across = np.where(there, across, np.nan)
        axes = (0, across.ndim - 1)
        noise = np.nanmean(across, axes, keepdims=True)
        noise = noise + drawn * np.nanstd(across, axes, keepdims=True)
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


def area(curve: Tensor) -> Tensor:
    """Return the mean height of each curve (B, points), by the trapezoidal rule, (B,)."""
    values = curve.double()
    return (values[:, 1:] + values[:, :-1]).mean(1) / 2


def sensitivity_n(
    network: Scores,
    x: Tensor,
    target: Tensor,
    relevance: Tensor,
    *,
    share: float,
    samples: int,
    seeds: Sequence[int],
) -> Tensor:
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
        for chosen in sent(sets, x.device):
            sums.append((weights * chosen).sum(1))
            losses.append(full - score(network((flat * ~chosen).view_as(x)), target))
    first, second = (torch.stack(part, 1).double() for part in (sums, losses))
    return (standardised(first) * standardised(second)).sum(1)


def ranked(relevance: Tensor) -> Tensor:
    """Return the ranks of each item's values, (B, n), `standardised`; equal values share theirs."""
    flat = relevance.flatten(1)
    ordered = flat.sort(1).values
    below, above = (torch.searchsorted(ordered, flat, right=right) for right in (False, True))
    ranks = (below + above).double()
    return standardised(torch.where(flat.isnan().any(1, keepdim=True), torch.nan, ranks))


def agreement(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's rank correlation of two relevances, of their `ranked` (B, n), (B,).

    Source: Adebayo et al. (2018), sec. 3, who compare explanations so.
    """
    return (first * second).sum(1)


def standardised(values: Tensor) -> Tensor:
    """Return rows (B, n) of mean 0 and length 1, whose products are Pearson's correlations.

    NaN where a row is constant.
    """
    apart = values - values.mean(1, keepdim=True)
    length = torch.linalg.vector_norm(apart, dim=1, keepdim=True)
    return apart / torch.where(length > 0, length, torch.nan)


def randomised(network: nn.Module, seed: int) -> nn.Module:
    """Return a copy of a network with random weights, for a sanity check.

    An explanation that stays the same does not depend on what the network has learned.

    Source: Adebayo et al. (2018), sec. 3: all layers randomised.
    """
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    twin = copy.deepcopy(network).cpu()  # drawn there, the weights are the same on every device
    with seeded(seed):
        if isinstance(twin, Network):
            twin.reset_parameters()
        else:
            for module in twin.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
    return twin.to(device).eval().requires_grad_(False)
