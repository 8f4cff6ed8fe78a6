"""``speechscope navai``: what inputs that a network answers alike have in common."""

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
            metavar="[MODEL]",
            help="model.pt or relevance.zarr, or - to read its path.",
            show_default=False,
        ),
    ] = None,
    recipe: options.Recipe = recipes.DEFAULT,
    align: Annotated[
        list[str] | None,
        options.setting("--align", f"Any of {', '.join(recipes.ALIGNMENTS)}.", "navai.align"),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="Write these classes alone.", show_default=False),
    ] = None,
    by: Annotated[str | None, options.setting("--by", "Split classes too.", "navai.by")] = None,
    phones: Annotated[
        Path | None,
        typer.Option(
            "--phones",
            metavar="CORPUS",
            help="With --by phone: a corpus with the phones of the same recordings.",
            show_default=False,
        ),
    ] = None,
    least: Annotated[
        int | None,
        options.setting("--least", "Fewest inputs a part of a class has.", "navai.least", min=1),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        options.setting("--exclude", "Classes that do not count.", "navai.exclude"),
    ] = None,
    normalizer: Annotated[
        str | None,
        options.setting("--normalizer", "The mean over all.", "navai.normalizer"),
    ] = None,
    split: Annotated[str | None, options.setting("--split", "Whose items.", "navai.split")] = None,
    items: Annotated[
        list[str] | None,
        typer.Option("--items", help="Items of it by position: 0:100, 7.", show_default=False),
    ] = None,
    rule: Annotated[str | None, options.setting("--rule", "Rule of LRP.", "navai.rule")] = None,
    epsilon: Annotated[
        float | None, options.setting("--epsilon", "Its stabilizer.", "navai.epsilon", min=0.0)
    ] = None,
    gamma: Annotated[
        float | None, options.setting("--gamma", "γ of the γ rule.", "navai.gamma", min=0.0)
    ] = None,
    alpha: Annotated[
        float | None, options.setting("--alpha", "α of the αβ rule.", "navai.alpha", min=1.0)
    ] = None,
    mode: Annotated[
        str | None, options.setting("--mode", "Means of inputs or of activations.", "navai.mode")
    ] = None,
    layer: Annotated[
        list[str] | None,
        options.setting("--layer", "With --mode profile: layers.", "navai.layer"),
    ] = None,
    adjust: Annotated[
        bool,
        typer.Option("--adjust", help="With --mode profile: weigh by the score's derivative."),
    ] = False,
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
    """Average the inputs that are answered alike, moved to where the answer was found.

    Normalized averaging of aligned inputs (Krug 2018, sec. 3.5 and 3.6): by class, less the mean
    over all classes. With --mode profile, activations of every layer in place of inputs.

    Example: speechscope navai --class aa,iy,t --align none,min-sensitivity --wav heard
    """
    flags = {
        "align": options.joined(align),
        "by": by,
        "least": least,
        "exclude": options.joined(exclude),
        "normalizer": normalizer,
        "split": split,
        "rule": rule,
        "epsilon": epsilon,
        "gamma": gamma,
        "alpha": alpha,
        "mode": mode,
        "layer": options.joined(layer),
    }
    chosen = recipes.resolve(recipe, "navai", flags)
    profile = chosen["mode"] == "profile"
    only = {"--layer": layer is not None, "--adjust": adjust}
    apart = {"--align": align is not None, "--wav": wav is not None, "--by": by is not None}
    for flag, is_given in (apart if profile else only).items():
        if is_given:
            raise UsageProblem(f"{flag} has no meaning for --mode {chosen['mode']}")
    if phones is not None and chosen["by"] != "phone":
        raise UsageProblem("--phones goes with --by phone")
    if shard is not None and wav is not None:
        raise UsageProblem("--wav: a shard holds sums, which have no sound")
    alignments = ("none",) if profile else tuple(chosen["align"].split(","))

    from speechscope.corpus.store import Corpus
    from speechscope.navai import alignment, sound
    from speechscope.navai.averaging import Averaging, NavaiSettings
    from speechscope.navai.gathering import span_items
    from speechscope.navai.merging import KIND, write_averages, write_shard
    from speechscope.navai.opening import opened
    from speechscope.navai.passes import NamedRule
    from speechscope.navai.profiles import Profiling
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.shards import Shard
    from speechscope.store.wav import check_target
    from speechscope.store.writer import create_artifact
    from speechscope.work.device import choose
    from speechscope.work.executors import executor
    from speechscope.work.progress import bar

    one = None if shard is None else Shard.parse(shard)
    usual = Path("navai.zarr")
    path = options.output_path(destination, str(usual if one is None else one.path(usual)))
    alignment.check(alignments)
    amounts = {name: chosen[name] for name in ("epsilon", "gamma", "alpha")}
    source = opened(
        None if model is None else options.input_path(model),
        factory=foreign,
        weights=weights,
        corpus=corpus,
        device=choose(device),
        alignments=alignments,
        rule=NamedRule(chosen["rule"], **amounts),
        split=chosen["split"],
        ranges=None if items is None else options.split_list(items),
    )
    examples, data = source.examples, source.examples.corpus
    unknown = [name for name in options.split_list(exclude) if name not in examples.classes]
    if unknown:
        raise UsageProblem(f"--exclude {unknown[0]}: choose from {', '.join(examples.classes)}")
    settings = NavaiSettings(
        alignments,
        classes=tuple(options.split_list(classes)),
        exclude=tuple(chosen["exclude"].split(",")),
        normalizer=chosen["normalizer"],
        least=chosen["least"],
        seed=seed,
    )
    work: Averaging | Profiling
    if profile:
        work = Profiling(examples, settings, chosen["layer"].split(","), adjust)
    else:
        said = None if phones is None else Corpus(phones)
        work = Averaging(examples, settings, chosen["by"], said)
    layout = work.layout
    if wav is not None:
        if not sound.audible(data):
            raise UsageProblem(f"--wav: {data.features} spectrograms have no waveform")
        check_target(wav, force=force)
    parents = [entry(*source.parent, path)]
    if phones is not None:
        parents.append(entry(phones, "corpus", path))
    config = {
        "recipe": recipe,
        **chosen,
        "class": list(settings.classes),
        "items": None if items is None else options.split_list(items),
        "adjust": adjust,
        **source.config,
    }
    step = span_items(len(work.items), work.block)
    if one is not None:
        config["shard"] = one.config(len(examples.items), step)
    new = new_record(
        "navai" if one is None else KIND,
        config=config,
        seed=seed,
        device=str(examples.device),
        parents=parents,
    )
    with (
        executor(workers, scheduler) as who,
        create_artifact(path, "Averages of aligned inputs", new, force=force) as writer,
        bar("navai", quiet=quiet) as progress,
    ):
        if one is not None:
            rows = one.part(len(examples.items), step)
            inputs = write_shard(writer, work, layout, rows, who, progress)
        else:
            written = write_averages(writer, work, layout, settings, who, progress)
    if one is not None:
        output.note(f"{inputs} inputs; speechscope merge puts the shards together", quiet=quiet)
        output.wrote(path, KIND, as_json=as_json, facts={"inputs": inputs})
        return
    if wav is not None:
        sound.write_sounds(path, wav, data, force=force)
    if written.empty:
        output.note(f"nothing was predicted as {', '.join(written.empty)}", quiet=quiet)
    output.note(f"{written.inputs} inputs, {len(written.classes)} classes", quiet=quiet)
    facts = {"inputs": written.inputs, "classes": len(written.classes)}
    output.wrote(path, "navai", as_json=as_json, facts=facts)
