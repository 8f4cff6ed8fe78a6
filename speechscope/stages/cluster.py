"""``speechscope cluster``: what layers hold, in clusters, and what the clusters are of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from speechscope.errors import UsageProblem
from speechscope.registry import CLUSTERING, REDUCTIONS
from speechscope.settings import option, record_of, setting
from speechscope.stages.seeing import Seeing, looked_into
from speechscope.stages.shared import Computing, Looking, Spread, Writing, Written, listed
from speechscope.work.progress import Console


@dataclass(frozen=True, kw_only=True)
class Cluster(Seeing, Looking, Writing, Computing, Spread):
    """Cluster what layers hold of each phone, and measure how well the clusters are the phones.

    Of samples that are classified correctly: k-means with Manhattan distances, spectral clustering
    and others, of activations as they are, after PCA or t-SNE; precision, recall and F-measure;
    what the clusters are of; mean activation maps (Pellegrini 2016, sec. 3 and 4). Linear probes
    and the likeness of layers beside them.

    Example: speechscope cluster --layer input,pool1,pool2,relu5 --reduce none,tsne --clusters auto
    """

    usual: ClassVar[str] = "clusters.zarr"
    layer: tuple[str, ...] = setting(
        ("all",),
        "Names or numbers; input, or 0; all.",
        "Pellegrini 2016, sec. 4.1: the raw input and the layers",
    )
    reduce: tuple[str, ...] = setting(
        ("none", "pca", "tsne"),
        "Before clustering.",
        "Pellegrini 2016, sec. 3.1",
        choices=REDUCTIONS.names,
    )
    algorithm: tuple[str, ...] = setting(
        ("kmeans", "spectral"),
        "Ways to cluster.",
        "Pellegrini 2016, sec. 3.2",
        choices=CLUSTERING.names,
    )
    clusters: str = setting(
        "classes",
        "A number, classes or auto.",
        "Pellegrini 2016, sec. 4.1: as many as phones; auto: sec. 4.2",
        choices=("auto", "classes"),
        others=True,
    )
    most: str = setting(
        "classes",
        "Largest number auto tries, or classes.",
        "Pellegrini 2016, sec. 3.2: up to as many as phones",
        choices=("classes",),
        others=True,
    )
    per_class: int = setting(100, "Random samples a class.", "Pellegrini 2016, sec. 3", low=1)
    frame: str = setting(
        "third",
        "What stands for a phone.",
        "Pellegrini 2016, sec. 3; mean: sec. 5; segments are whole",
        choices=("third", "middle", "mean"),
    )
    split: str = setting(
        "test",
        "Where samples are from.",
        "chosen: unseen speakers; Pellegrini 2016 has what it tuned on",
        choices=("train", "dev", "test"),
    )
    correct: bool = setting(
        True,
        "Samples answered correctly, or any.",
        "Pellegrini 2016, sec. 3: correctly classified",
        flags="--correct/--any",
    )
    probes: bool = setting(
        True, "Train linear probes.", "chosen: beyond the paper", flags="--probes/--no-probes"
    )
    against: Path | None = option(
        None,
        "Compare its layers with those of another model of the same corpus.",
        metavar="MODEL",
    )


def run(settings: Cluster, console: Console) -> Written:
    """Write ``clusters.zarr``."""
    number = _count(settings.clusters, ("auto", "classes"), "--clusters")
    limit = _count(settings.most, ("classes",), "--most")
    path = settings.path()
    against = settings.against
    if against is not None and settings.model is not None:
        raise UsageProblem("--against compares models of ours; --model is not one")

    from speechscope.clustering.layer import LayerWork, counts_of
    from speechscope.clustering.samples import INPUT, choose, classes_of, layers_of
    from speechscope.clustering.store import write_clusters
    from speechscope.networks.subject import subject_of
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.writer import create_artifact
    from speechscope.work.device import choose as choose_device
    from speechscope.work.local import executor

    device = choose_device(settings.device)
    subject, left_out = looked_into(settings, device, path, console)
    if not subject.corpus.labelled:
        raise UsageProblem(
            f"--input {settings.input}: nobody labelled it, and clusters are held against classes; "
            "relevance --activity gives what layers hold along it"
        )
    layers = layers_of(subject, settings.layer)
    parents = [entry(*parent, path) for parent in subject.parents]
    other = None
    if against is not None:
        rival = subject_of(against, None, None, (subject.trained or subject.corpus).path, device)
        if subject.trained is not None:
            rival = rival.looking_at(subject.corpus)
        other = (rival, (INPUT, *rival.network.names))
        parents.append(entry(against, "model", path))
    samples = choose(subject, settings)
    counts = counts_of(samples.labels, number, limit)
    work = LayerWork(subject, samples, counts, settings)
    new = new_record(
        "clusters",
        config={**record_of(settings), "against": against and str(against), **subject.config},
        seed=settings.seed,
        device=str(subject.device),
        parents=parents,
    )
    with (
        executor(settings.workers, settings.scheduler) as run_by,
        create_artifact(path, "Clusters of activations", new, force=settings.force) as writer,
        console.bar("cluster", "layers") as progress,
    ):
        write_clusters(writer, work, layers, executor=run_by, other=other, progress=progress)
    fewer = samples.fewer_than(settings.per_class, classes_of(subject.corpus))
    if fewer:
        console.note(f"fewer than {settings.per_class} samples: {', '.join(fewer)}")
    facts = {"items": len(samples), "layers": len(layers)}
    problem = f"{len(left_out)} parts of {settings.input} were left out"
    return Written(path, "clusters", facts, listed(left_out, path), problem)


def _count(text: str, names: Sequence[str], flag: str) -> int | str:
    """Return a whole number, or one of the names that stand for one.

    Raises
    ------
    UsageProblem
        It is neither.
    """
    if text in names:
        return text
    if not text.isdecimal():
        raise UsageProblem(f"{flag} {text}: give a whole number or {' or '.join(names)}")
    return int(text)
