"""The table that `score` prints for each kind of artifact."""

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.scores import scoring
from speechscope.scores.round_trip import round_trip
from speechscope.scores.tables import Row
from speechscope.store.artifact import Artifact
from speechscope.store.lineage import ancestor, record_at

if TYPE_CHECKING:
    from speechscope.networks.subject import Foreign
    from speechscope.networks.wav2letter import Wav2Letter

ROUND_TRIPS = 2000
"""Segments of a corpus whose round trip is scored (chosen: the mean is then known to 0.01)."""
_DECODER_SETTINGS = ("encoder", "decoder", "unpool", "stack", "relu")
LETTER_BATCH = 16  # utterances answered at once: a third of a GB at full width, if all are long
BLOCK = 256  # items read at a time: about 3 MB of spectrograms


def scorecard(
    path: Path,
    *,
    device: str,
    moved: Mapping[str, Path] | None = None,
    foreign: "Foreign | None" = None,
) -> list[Row]:
    """Return the rows for one artifact.

    A corpus gives the round trips of its segments (Riemens 2015, table 1); a model its accuracies
    on the test split, or its letter error rate beside that of a constant answer, with the epoch its
    weights are of and the split that epoch was chosen on; a decoder its
    errors, those of the zero spectrogram and of its leak test; an inversion its distances and
    correlations by method and layer; relevance how faithful it is; clusters how well they are the
    classes; navai what its patterns show.

    Parameters
    ----------
    path
        ``corpus.zarr``, ``model.pt``, ``decoder.pt``, ``inversion.zarr``, ``relevance.zarr``,
        ``clusters.zarr`` or ``navai.zarr``.
    device
        Where the network runs.
    moved
        Parents that moved, by kind.
    foreign
        The network that relevance is of, where it is not ours.

    Raises
    ------
    ArtifactError
        The artifact or its parent is missing, damaged or another.
    UsageProblem
        There is nothing to score in this kind.
    """
    kind = record_at(path)["kind"]
    if foreign is not None and kind != "relevance":
        raise UsageProblem(f"{path} is a {kind}; --model goes with relevance")
    if kind == "model":
        return list(_model(path, device, moved or {}))
    if kind == "decoder":
        return list(_decoder(path))
    if kind == "inversion":
        return list(_inversion(Artifact(path, "inversion")))
    if kind == "corpus":
        return list(_corpus(Corpus(path)))
    if kind == "relevance":
        from speechscope.scores.relevance import relevance_rows
        from speechscope.work.device import choose

        return list(relevance_rows(path, choose(device), moved, foreign))
    if kind == "clusters":
        from speechscope.scores.clusters import cluster_rows

        return list(cluster_rows(path))
    if kind == "navai":
        from speechscope.scores.navai import navai_rows

        return list(navai_rows(path))
    raise UsageProblem(
        f"{path} is a {kind}; score takes a corpus, a model, a decoder, an inversion, relevance, "
        "clusters or navai"
    )


def _corpus(corpus: Corpus) -> Iterator[Row]:
    """Score the round trip of its segments (Riemens 2015, table 1): a sample of the test split."""
    transform = corpus.representation.transform
    items = corpus.items("test")
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(items)[:ROUND_TRIPS])
    blocks = (
        corpus.waveforms(chosen[start : start + BLOCK]) for start in range(0, len(chosen), BLOCK)
    )
    for row in round_trip(blocks, transform):
        yield {"artifact": corpus.path.name, **row}


def _model(path: Path, device: str, moved: Mapping[str, Path]) -> Iterator[Row]:
    from speechscope.networks.saved import load_model
    from speechscope.networks.wav2letter import Wav2Letter
    from speechscope.training.evaluation import answers
    from speechscope.training.source import CorpusSource
    from speechscope.work.device import choose

    model = load_model(path)
    corpus = Corpus(ancestor(path, model.checkpoint.record, "corpus", moved))
    items = corpus.items("test")
    where = choose(device)
    values = model.checkpoint.values
    # Whoever reads a score is to know whether the test items helped to choose the weights.
    chosen = {"epoch": values.get("best_epoch"), "chosen_on": values.get("selected_on")}
    if isinstance(model.network, Wav2Letter):
        for row in _letters(path, model.network.to(where), corpus):
            yield {**row, **chosen}
        return
    source = CorpusSource(corpus, ("test",), where, hold=False)
    _, predicted = answers(model.network.to(where), source, "test")
    labels = corpus.labels[items]
    for measure, score in (
        ("accuracy", scoring.accuracy),
        ("class-balanced accuracy", scoring.balanced_accuracy),
    ):
        for found, wanted in ((predicted, labels), (model.fold[predicted], model.fold[labels])):
            classes = len(model.classes if found is predicted else model.classes_folded)
            yield {
                "artifact": path.name,
                "network": model.name,
                "split": "test",
                "measure": measure,
                "classes": classes,
                "occurring": len(np.unique(wanted)),
                "items": len(items),
                "value": score(wanted, found),
                **chosen,
            }


def _letters(path: Path, network: "Wav2Letter", corpus: Corpus) -> Iterator[Row]:
    from speechscope.training.ctc import constant_error
    from speechscope.training.utterances import CorpusUtterances, answers

    found = answers(network, CorpusUtterances(corpus, hold=False), "test", LETTER_BATCH)
    for measure, value in (
        ("letter error rate", found.error),
        ("letter error rate of a constant answer", constant_error(found.texts)),
    ):
        yield {
            "artifact": path.name,
            "network": "wav2letter",
            "split": "test",
            "measure": measure,
            "items": len(found.items),
            "letters": sum(map(len, found.texts)),
            "value": value,
        }


def _decoder(path: Path) -> Iterator[Row]:
    from speechscope.store.checkpoint import Checkpoint

    checkpoint = Checkpoint(path, "decoder")
    config = checkpoint.record["config"]
    made = {name: config[name] for name in _DECODER_SETTINGS if name in config}
    for row in checkpoint.values["scores"]:
        yield {"artifact": path.name, **made, **row}


def _inversion(artifact: Artifact) -> Iterator[Row]:
    methods, layers = artifact.flags("method"), artifact.read("layer").tolist()
    limit = _threshold(artifact) if "waveform" in artifact else None
    if limit is not None:
        yield _row(artifact, "round trip", None, limit, None)
    for m, method in enumerate(methods):
        for index, layer in enumerate(layers):
            yield _row(artifact, method, int(layer), limit, (m, index))


def _row(
    artifact: Artifact,
    method: str,
    layer: int | None,
    limit: float | None,
    where: tuple[int, int] | None,
) -> Row:
    values = _compare(artifact, where)
    waveform = values.get("mxcorr")
    low, high = (None, None) if waveform is None else scoring.bootstrap(waveform)
    mean = {name: float(found.mean()) for name, found in values.items()}
    return {
        "artifact": artifact.path.name,
        "method": method,
        "layer": layer,
        "items": len(values["euclidean"]),
        "euclidean": mean["euclidean"],
        "mxcorr2": mean["mxcorr2"],
        "mxcorr": mean.get("mxcorr"),
        "mxcorr_low": low,
        "mxcorr_high": high,
        "mxcorr_median": None if waveform is None else float(np.median(waveform)),
        "threshold": limit,
        "correlation": mean.get("correlation"),
        "lsd": mean.get("lsd"),
        "stoi": _stoi(artifact, where),
        "intensity": mean["intensity"],
        "mismatch": _mismatch(artifact, where),
        "input": _input(artifact),
    }


def _compare(artifact: Artifact, where: tuple[int, int] | None) -> dict[str, NDArray[Any]]:
    """Compare reconstructions with originals, item by item; `where` None is the round trip."""
    parts: list[dict[str, NDArray[Any]]] = []
    count = artifact.array("original").shape[0]
    for start in range(0, count, BLOCK):
        items = slice(start, min(count, start + BLOCK))
        original = artifact.read("original", items)
        found = original if where is None else artifact.read("reconstruction", (*where, items))
        part = {
            "euclidean": scoring.euclidean(original, found),
            "mxcorr2": scoring.max_cross_correlation(original, found),
            "intensity": scoring.intensity(original, found),
        }
        if "waveform" in artifact:
            true, waveform = _heard(artifact, where, items)
            part["mxcorr"] = scoring.max_cross_correlation(true, waveform)
            part["correlation"] = scoring.correlation(true, waveform)
            part["lsd"] = scoring.log_spectral_distance(true, waveform)
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _heard(
    artifact: Artifact, where: tuple[int, int] | None, items: slice
) -> tuple[NDArray[Any], NDArray[Any]]:
    name = "waveform_round_trip" if where is None else "waveform"
    waveform = artifact.read(name, items if where is None else (*where, items))
    return artifact.read("waveform_original", items), waveform


def _input(artifact: Artifact) -> str:
    # Inversions from before there were other inputs do not say.
    return str(artifact.record["config"].get("input", "corpus"))


def _mismatch(artifact: Artifact, where: tuple[int, int] | None) -> float | None:
    if where is None or "mismatch" not in artifact:
        return None
    return float(artifact.read("mismatch", where).mean())


def _stoi(artifact: Artifact, where: tuple[int, int] | None) -> float | None:
    """Return the STOI of a recording whose segments follow each other, if pystoi is there."""
    if _input(artifact) != "audio" or "waveform" not in artifact:
        return None
    if importlib.util.find_spec("pystoi") is None:
        return None
    true, waveform = _heard(artifact, where, slice(None))
    rate = int(artifact.attributes("waveform")["sampling_frequency"])
    return scoring.stoi(true.ravel(), waveform.ravel(), rate)


def _threshold(artifact: Artifact) -> float:
    count = artifact.array("waveform_original").shape[0]
    average = artifact.read("waveform_average")
    totals = [
        len(waveforms) * scoring.threshold(average, waveforms)
        for start in range(0, count, BLOCK)
        for waveforms in [artifact.read("waveform_original", slice(start, start + BLOCK))]
    ]
    return float(sum(totals) / count)
