"""``speechscope prepare``: from recordings to corpus.zarr."""

from pathlib import Path
from typing import Annotated

import typer

from speechscope import recipes
from speechscope.errors import ItemsSkipped, UsageProblem
from speechscope.stages import options, output


def command(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="A corpus folder, or a manifest; - reads its path.")
    ],
    recipe: options.Recipe = recipes.DEFAULT,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            help=f"How it is laid out, if not to be found out: {', '.join(recipes.LAYOUTS)}.",
            autocompletion=lambda: list(recipes.LAYOUTS),
            show_default=False,
        ),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option("--tier", help="TextGrids: the tier with the phones.", show_default=False),
    ] = None,
    labels: Annotated[
        str | None, options.setting("--labels", "What items are labelled with.", "prepare.labels")
    ] = None,
    phone_set: Annotated[
        str | None, options.setting("--phone-set", "The phones.", "prepare.phone_set")
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--mapping", help="For ipa: a table of label, class, folded.", show_default=False
        ),
    ] = None,
    unit: Annotated[
        str | None, options.setting("--unit", "What an item is.", "prepare.unit")
    ] = None,
    features: Annotated[
        str | None, options.setting("--features", "Representation.", "prepare.features")
    ] = None,
    bins: Annotated[
        int | None,
        options.setting("--bins", "Frequency bins, bands or coefficients.", "prepare.bins", min=2),
    ] = None,
    padding: Annotated[
        str | None,
        options.setting(
            "--padding",
            "What the room around a segment holds: nothing, or what was said there.",
            "prepare.padding",
        ),
    ] = None,
    duration: Annotated[
        bool | None,
        options.setting(
            "--duration/--no-duration", "A channel with the segment's length.", "prepare.duration"
        ),
    ] = None,
    deltas: Annotated[
        int | None,
        options.setting("--deltas", "Derivatives as channels.", "prepare.deltas", min=0, max=2),
    ] = None,
    normalize: Annotated[
        str | None,
        options.setting("--normalize", "Loudness, or z-normalisation.", "prepare.normalize"),
    ] = None,
    context: Annotated[
        int | None,
        options.setting("--context", "Frames of a frame item, odd.", "prepare.context", min=1),
    ] = None,
    sample_rate: Annotated[
        int | None, options.setting("--sample-rate", "Sampling rate [Hz].", "prepare.rate", min=1)
    ] = None,
    length: Annotated[
        int | None,
        options.setting(
            "--length", "Samples of a window, or of a padded segment.", "prepare.samples", min=2
        ),
    ] = None,
    window: Annotated[
        int | None,
        options.setting("--window", "Samples a frame is made of.", "prepare.window", min=2),
    ] = None,
    hop: Annotated[
        int | None,
        typer.Option(
            "--hop", help="Samples from one frame or window to the next.", min=1, show_default=False
        ),
    ] = None,
    max_length: Annotated[
        str | None,
        options.setting(
            "--max-length",
            "Longest item kept: samples, a percentile such as 95%, or none.",
            "prepare.max_length",
        ),
    ] = None,
    split: Annotated[
        str | None,
        options.setting(
            "--split",
            "folder, speakers:FILE, share:test=0.2,dev=0.1, or recordings:0.1.",
            "prepare.split",
        ),
    ] = None,
    dev: Annotated[
        float | None,
        options.setting(
            "--dev", "Share of the training speakers set apart.", "prepare.dev", min=0.0, max=0.9
        ),
    ] = None,
    destination: options.Output = None,
    force: options.Force = False,
    skip_bad: options.SkipBad = False,
    seed: options.Seed = 0,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    shard: options.Shard = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Cut a corpus into items and store their inputs and labels.

    Reads TIMIT in all its variants, Praat TextGrids, LibriSpeech, xlabel and HTK label files, and
    a table of recordings. Items are phone segments, frames with context, windows of the waveform,
    or whole utterances. What cannot be used is named and left out, and the exit code is 4 unless
    --skip-bad accepts that.

    Example: speechscope prepare corpus/ --recipe pellegrini2016 --tier phones -o corpus.zarr
    """
    flags = {
        "unit": unit,
        "labels": labels,
        "phone_set": phone_set,
        "split": split,
        "features": features,
        "bins": bins,
        "padding": padding,
        "duration": duration,
        "deltas": deltas,
        "normalize": normalize,
        "context": context,
        "rate": sample_rate,
        "samples": length,
        "window": window,
        "max_length": max_length,
        "dev": dev,
    }
    chosen = recipes.resolve(recipe, "prepare", flags)
    # Muckenhirn 2019, sec. 4.1: speakers are told apart by all ten of their sentences.
    chosen["drop_sa"] = chosen["drop_sa"] and chosen["labels"] != "speaker"
    if hop is not None and chosen["unit"] == "window":
        chosen["window"], chosen["overlap"] = hop, 0  # nothing else is made of their frames
    elif hop is not None:
        chosen["overlap"] = chosen["window"] - hop
    longest = _length(chosen["max_length"])
    root = options.input_path(folder)

    from speechscope.corpus.prepare import prepare
    from speechscope.corpus.settings import Settings
    from speechscope.features.transform import Transform
    from speechscope.store.record import new_record
    from speechscope.store.shards import Shard
    from speechscope.store.writer import create_artifact
    from speechscope.work.local import executor
    from speechscope.work.progress import bar

    one = None if shard is None else Shard.parse(shard)
    usual = Path("corpus.zarr")
    path = options.output_path(destination, str(usual if one is None else one.path(usual)))
    sizes = {name: chosen[name] for name in ("samples", "window", "overlap", "bins", "rate")}
    settings = Settings(
        unit=chosen["unit"],
        labels=chosen["labels"],
        transform=Transform(**sizes),
        features=chosen["features"],
        deltas=chosen["deltas"],
        padding=chosen["padding"],
        duration=chosen["duration"],
        normalize=chosen["normalize"],
        context=chosen["context"],
        max_length=longest,
        layout=layout,
        tier=tier,
        phone_set=chosen["phone_set"],
        mapping=mapping,
        split=chosen["split"],
        dev=chosen["dev"],
        seed=seed,
        drop_sa=chosen["drop_sa"],
    )
    settings.check()
    config = {
        "recipe": recipe,
        **chosen,
        "tier": tier,
        "mapping": None if mapping is None else str(mapping.resolve()),
        "source": str(root.resolve()),
    }
    record = new_record("corpus", config=config, seed=seed, device="cpu")
    if scheduler is not None:  # its workers have working directories of their own
        root = root.resolve()
    title = f"{chosen['unit'].capitalize()}s of {root.resolve().name}"
    with (
        executor(workers, scheduler, threads=True) as who,
        create_artifact(path, title, record, force=force) as writer,
        bar("prepare", quiet=quiet) as progress,
    ):
        summary = prepare(root, writer, settings, executor=who, shard=one, progress=progress)
    for line in summary.notes:
        output.note(line, quiet=quiet)
    skipped, lost = summary.losses.skipped, summary.losses.dropped
    dropped = ", ".join(f"{n} {why}" for why, n in lost.items() if n)
    output.note(
        f"{summary.items} {chosen['unit']}s of {summary.utterances} utterances "
        f"({summary.seconds / 60:.1f} min)"
        + (f"; left out by the recipe: {dropped}" * bool(dropped)),
        quiet=quiet,
    )
    facts = {
        "items": summary.items,
        "utterances": summary.utterances,
        "seconds": summary.seconds,
        "dropped": dict(lost),
        "skipped": skipped,
    }
    output.wrote(path, "corpus", as_json=as_json, facts=facts)
    if skipped:
        lines = output.shortened(skipped, str(path))
        if not skip_bad:
            raise ItemsSkipped(f"{len(skipped)} items were left out (exit 4)", lines)
        for line in lines:
            output.note(f"skipped {line}", quiet=quiet)


def _length(text: str) -> int | str | None:
    """Return a number of samples, a percentile as it was written, or None for no limit."""
    if text == "none":
        return None
    number = text.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if text.endswith("%") and 0 < value <= 100:
        return text
    if number == text and value >= 1 and value == int(value):
        return int(value)
    raise UsageProblem(f"--max-length {text}: give samples (2554), a percentile (95%) or none")
