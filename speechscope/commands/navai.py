"""``speechscope navai``: what inputs that a network answers alike have in common."""

from pathlib import Path
from typing import Annotated

import typer

from speechscope import recipes
from speechscope.commands import options, output
from speechscope.errors import UsageProblem


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
    path = options.output_path(destination, "navai.zarr")
    alignments = ("none",) if profile else tuple(chosen["align"].split(","))

    from speechscope import artifact_writer, provenance
    from speechscope.corpus.store import Corpus
    from speechscope.device import choose
    from speechscope.lineage import entry
    from speechscope.navai import alignment, sound
    from speechscope.navai.opening import opened
    from speechscope.navai.profiles import write_profiles
    from speechscope.navai.splits import split_by
    from speechscope.navai.store import NavaiSettings, write_navai
    from speechscope.progress import bar
    from speechscope.relevance.rules import composite
    from speechscope.wav import check_target

    alignment.check(alignments)
    amounts = {name: chosen[name] for name in ("epsilon", "gamma", "alpha")}
    source = opened(
        None if model is None else options.input_path(model),
        factory=foreign,
        weights=weights,
        corpus=corpus,
        device=choose(device),
        alignments=alignments,
        rule=composite(chosen["rule"], **amounts),
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
    settings.check(examples.classes)
    if profile and source.network is None:
        raise UsageProblem("--mode profile needs one of our own models")
    if wav is not None:
        if not sound.audible(data):
            raise UsageProblem(f"--wav: {data.features} spectrograms have no waveform")
        check_target(wav, force=force)
    parts = split_by(
        chosen["by"],
        data,
        phones=None if phones is None else Corpus(phones),
        times=source.times,
        answers=source.answers,
    )
    parents = [entry(*source.parent, path)]
    if phones is not None:
        parents.append(entry(phones, "corpus", path))
    config = {"recipe": recipe, **chosen, "class": list(settings.classes), **source.config}
    new = provenance.new_record(
        "navai", config=config, seed=seed, device=str(examples.device), parents=parents
    )
    with (
        artifact_writer.create(path, "Averages of aligned inputs", new, force=force) as writer,
        bar("navai", quiet=quiet) as progress,
    ):
        if profile:
            assert source.network is not None
            layers = chosen["layer"].split(",")
            written = write_profiles(
                writer,
                examples,
                source.network,
                settings,
                layers=layers,
                adjust=adjust,
                progress=progress,
            )
        else:
            written = write_navai(writer, examples, settings, parts, progress)
    if wav is not None:
        sound.write_sounds(path, wav, data, force=force)
    if written.empty:
        output.note(f"nothing was predicted as {', '.join(written.empty)}", quiet=quiet)
    output.note(f"{written.inputs} inputs, {len(written.classes)} classes", quiet=quiet)
    facts = {"inputs": written.inputs, "classes": len(written.classes)}
    output.wrote(path, "navai", as_json=as_json, facts=facts)
