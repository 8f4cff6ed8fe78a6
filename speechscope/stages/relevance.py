"""``speechscope relevance``: what in an input a network's answer rests on."""

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
    method: Annotated[
        list[str] | None,
        options.setting("--method", f"Any of {', '.join(recipes.METHODS)}.", "relevance.method"),
    ] = None,
    rule: Annotated[str | None, options.setting("--rule", "Rule of lrp.", "relevance.rule")] = None,
    epsilon: Annotated[
        float | None,
        options.setting("--epsilon", "Stabilizer of lrp.", "relevance.epsilon", min=0.0),
    ] = None,
    gamma: Annotated[
        float | None, options.setting("--gamma", "γ of its γ rule.", "relevance.gamma", min=0.0)
    ] = None,
    alpha: Annotated[
        float | None, options.setting("--alpha", "α of its αβ rule.", "relevance.alpha", min=1.0)
    ] = None,
    target: Annotated[
        str | None,
        options.setting("--target", "predicted, label or a class.", "relevance.target"),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", help="Explain what enters this layer instead.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None,
        options.setting("--steps", "Steps of integrated.", "relevance.steps", min=1),
    ] = None,
    samples: Annotated[
        int | None,
        options.setting("--samples", "Copies of smoothgrad.", "relevance.samples", min=1),
    ] = None,
    noise: Annotated[
        float | None,
        options.setting("--noise", "Noise of smoothgrad.", "relevance.noise", min=0.0),
    ] = None,
    shifts: Annotated[
        int | None,
        options.setting("--shifts", "Mean over waveforms moved so far.", "relevance.shifts", min=1),
    ] = None,
    patch: Annotated[
        str | None,
        options.setting("--patch", "BINSxFRAMES occlusion hides.", "relevance.patch"),
    ] = None,
    stride: Annotated[
        str | None,
        options.setting("--stride", "BINSxFRAMES between patches.", "relevance.stride"),
    ] = None,
    items: options.Items = None,
    per_class: Annotated[
        int | None,
        options.setting("--per-class", "Random test items a class.", "relevance.per_class", min=1),
    ] = None,
    everything: options.Everything = False,
    wav: options.Wav = None,
    foreign: options.Foreign = None,
    weights: options.Weights = None,
    corpus: options.CorpusPath = None,
    destination: options.Output = None,
    force: options.Force = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    shard: options.Shard = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Find what in test items the network's answer rests on.

    Gradients, guided backpropagation, layer-wise relevance propagation and others, of the score
    before softmax (Krug 2018, sec. 3.4; Muckenhirn 2019, sec. 3).

    Example: speechscope relevance --method guided,lrp --rule krug --target label
    """
    options.exclusive(
        {"--items": items is not None, "--per-class": per_class is not None, "--all": everything}
    )
    flags = {
        "method": options.joined(method),
        "rule": rule,
        "epsilon": epsilon,
        "gamma": gamma,
        "alpha": alpha,
        "target": target,
        "steps": steps,
        "samples": samples,
        "noise": noise,
        "shifts": shifts,
        "patch": patch,
        "stride": stride,
        "per_class": per_class,
    }
    chosen = recipes.resolve(recipe, "relevance", flags)

    from speechscope.corpus import selection
    from speechscope.networks.subject import check_classes, subject_of
    from speechscope.relevance.methods import relevance_settings
    from speechscope.relevance.sound import write_sounds
    from speechscope.relevance.spectral import Frames
    from speechscope.relevance.store import Explainer, Target, write_relevance
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.shards import Shard
    from speechscope.store.wav import check_target
    from speechscope.store.writer import create_artifact
    from speechscope.work.device import choose
    from speechscope.work.local import executor
    from speechscope.work.progress import bar

    one = None if shard is None else Shard.parse(shard)
    usual = Path("relevance.zarr")
    path = options.output_path(destination, str(usual if one is None else one.path(usual)))
    settings = relevance_settings(chosen)
    given = None if model is None else options.input_path(model)
    subject = subject_of(given, foreign, weights, corpus, choose(device))
    data = subject.corpus
    check_classes(subject, chosen["target"])
    chosen_items = selection.choose(
        data,
        "test",
        ranges=None if items is None else options.split_list(items),
        everything=everything,
        count=chosen["per_class"],
        seed=seed,
    )
    if wav is not None:
        if layer is not None:
            raise UsageProblem("--wav: what enters a layer inside the network has no sound")
        if data.unit != "window" and not data.invertible:
            raise UsageProblem(f"--wav: {data.features} spectrograms have no waveform")
        check_target(wav, force=force)
    work = Explainer(
        subject,
        chosen_items[:1],
        chosen["method"].split(","),
        settings,
        Target(chosen["target"], subject.classes),
        layer,
        Frames(chosen["frame"], chosen["hop"]),
        seed,
    )
    count = len(chosen_items)
    step = work.chunk_items(count)
    if one is not None:
        chosen_items = chosen_items[one.part(count, step)]
    new = new_record(
        "relevance",
        config={
            "recipe": recipe,
            **chosen,
            "layer": layer,
            "split": "test",
            **subject.config,
            **({} if one is None else {"shard": one.config(count, step)}),
        },
        seed=seed,
        device=str(subject.device),
        parents=[entry(*subject.parent, path)],
    )
    with (
        executor(workers, scheduler, alone=work.alone(-(-len(chosen_items) // step))) as who,
        create_artifact(path, "Relevance of inputs", new, force=force) as writer,
        bar("relevance", quiet=quiet) as progress,
    ):
        write_relevance(writer, work, chosen_items, step=step, executor=who, progress=progress)
    if wav is not None:
        write_sounds(path, wav, data, force=force)
    output.note(f"{len(chosen_items)} items, {chosen['method']}", quiet=quiet)
    output.wrote(path, "relevance", as_json=as_json, facts={"items": len(chosen_items)})
