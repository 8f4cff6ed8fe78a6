"""``speechscope cluster``: what layers hold, in clusters, and what the clusters are of."""

from pathlib import Path
from typing import Annotated

import typer

from speechscope import recipes
from speechscope.errors import UsageProblem
from speechscope.stages import options, output


def command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="model.pt, or - to read its path.", show_default=False
        ),
    ] = None,
    recipe: options.Recipe = recipes.DEFAULT,
    layer: Annotated[
        list[str] | None,
        options.setting("--layer", "Names or numbers; input, or 0; all.", "cluster.layer"),
    ] = None,
    reduce: Annotated[
        list[str] | None,
        options.setting("--reduce", f"Any of {', '.join(recipes.REDUCTIONS)}.", "cluster.reduce"),
    ] = None,
    algorithm: Annotated[
        list[str] | None,
        options.setting(
            "--algorithm", f"Any of {', '.join(recipes.ALGORITHMS)}.", "cluster.algorithm"
        ),
    ] = None,
    clusters: Annotated[
        str | None,
        options.setting("--clusters", "A number, classes or auto.", "cluster.clusters"),
    ] = None,
    most: Annotated[
        str | None,
        options.setting("--most", "Largest number auto tries, or classes.", "cluster.most"),
    ] = None,
    per_class: Annotated[
        int | None,
        options.setting("--per-class", "Random samples a class.", "cluster.per_class", min=1),
    ] = None,
    frame: Annotated[
        str | None, options.setting("--frame", "What stands for a phone.", "cluster.frame")
    ] = None,
    split: Annotated[
        str | None, options.setting("--split", "Where samples are from.", "cluster.split")
    ] = None,
    correct: Annotated[
        bool | None,
        options.setting(
            "--correct/--any", "Samples answered correctly, or any.", "cluster.correct"
        ),
    ] = None,
    probes: Annotated[
        bool | None,
        options.setting("--probes/--no-probes", "Train linear probes.", "cluster.probes"),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="MODEL",
            help="Compare its layers with those of another model of the same corpus.",
            show_default=False,
        ),
    ] = None,
    foreign: options.Foreign = None,
    weights: options.Weights = None,
    corpus: options.CorpusPath = None,
    destination: options.Output = None,
    force: options.Force = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Cluster what layers hold of each phone, and measure how well the clusters are the phones.

    Of samples that are classified correctly: k-means with Manhattan distances, spectral clustering
    and others, of activations as they are, after PCA or t-SNE; precision, recall and F-measure;
    what the clusters are of; mean activation maps (Pellegrini 2016, sec. 3 and 4). Linear probes
    and the likeness of layers beside them.

    Example: speechscope cluster --layer input,pool1,pool2,relu5 --reduce none,tsne --clusters auto
    """
    flags = {
        "layer": options.joined(layer),
        "reduce": options.joined(reduce),
        "algorithm": options.joined(algorithm),
        "clusters": clusters,
        "most": most,
        "per_class": per_class,
        "frame": frame,
        "split": split,
        "correct": correct,
        "probes": probes,
    }
    chosen = recipes.resolve(recipe, "cluster", flags)
    reductions = options.among(chosen["reduce"], recipes.REDUCTIONS, "--reduce")
    algorithms = options.among(chosen["algorithm"], recipes.ALGORITHMS, "--algorithm")
    number = options.count_or(chosen["clusters"], ("auto", "classes"), "--clusters")
    limit = options.count_or(chosen["most"], ("classes",), "--most")
    path = options.output_path(destination, "clusters.zarr")

    from speechscope.clustering.layer import counts_of, question_of
    from speechscope.clustering.samples import choose
    from speechscope.clustering.store import LayerWork, write_clusters
    from speechscope.networks.activations import INPUT, layer_names, resolve_layers
    from speechscope.networks.subject import subject_of
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.writer import create_artifact
    from speechscope.work.device import choose as choose_device
    from speechscope.work.executors import executor
    from speechscope.work.progress import bar

    given = None if model is None else options.input_path(model)
    where = choose_device(device)
    subject = subject_of(given, foreign, weights, corpus, where)
    data = subject.corpus
    example = subject.inputs(data.items(chosen["split"])[:2])
    layers = resolve_layers(
        layer_names(subject.network, example), options.split_list([chosen["layer"]])
    )
    parents = [entry(*subject.parent, path)]
    other = None
    if against is not None and foreign is not None:
        raise UsageProblem("--against compares models of ours; --model is not one")
    if against is not None:
        rival = subject_of(against, None, None, data.path, where)
        names = layer_names(rival.network, example)
        other = (rival, (INPUT, *names))
        parents.append(entry(against, "model", path))
    samples = choose(
        subject.network,
        subject.inputs,
        data,
        subject.classes,
        split=chosen["split"],
        frame=chosen["frame"],
        per_class=chosen["per_class"],
        correct=chosen["correct"],
        seed=seed,
    )
    question = question_of(
        samples,
        data,
        reductions=reductions,
        algorithms=algorithms,
        counts=counts_of(samples.labels, number, limit),
        probes=chosen["probes"],
        seed=seed,
    )
    new = new_record(
        "clusters",
        config={"recipe": recipe, **chosen, "against": against and str(against), **subject.config},
        seed=seed,
        device=str(subject.device),
        parents=parents,
    )
    work = LayerWork(subject, samples, question)
    with (
        executor(workers, scheduler) as who,
        create_artifact(path, "Clusters of activations", new, force=force) as writer,
        bar("layers", quiet=quiet) as progress,
    ):
        write_clusters(writer, work, layers, executor=who, other=other, progress=progress)
    fewer = question.short(data.classes, chosen["per_class"])
    if fewer:
        output.note(f"fewer than {chosen['per_class']} samples: {fewer}", quiet=quiet)
    facts = {"items": len(samples), "layers": len(layers)}
    output.wrote(path, "clusters", as_json=as_json, facts=facts)
