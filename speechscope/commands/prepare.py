"""``speechscope prepare``: from recordings to corpus.zarr."""

from typing import Annotated

import typer

from speechscope import recipes
from speechscope.commands import options, output
from speechscope.errors import ItemsSkipped, UsageProblem


def command(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="A corpus folder in TIMIT layout; - reads one.")
    ],
    recipe: options.Recipe = recipes.DEFAULT,
    features: Annotated[
        str | None, options.setting("--features", "Representation.", "prepare.features")
    ] = None,
    normalize: Annotated[
        str | None, options.setting("--normalize", "Loudness.", "prepare.normalize")
    ] = None,
    bins: Annotated[
        int | None, options.setting("--bins", "Frequency bins.", "prepare.bins", min=2)
    ] = None,
    max_length: Annotated[
        str | None,
        options.setting(
            "--max-length",
            "Longest segment kept: samples, or a percentile such as 95%.",
            "prepare.max_length",
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
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Cut a corpus into phone segments and store their spectrograms and labels.

    Reads TIMIT in all its variants, and corpora in the same layout. Items that cannot be used
    are named and left out, and the exit code is 4 unless --skip-bad accepts that.

    Example: speechscope prepare timit/ -o corpus.zarr
    """
    flags = {
        "features": features,
        "normalize": normalize,
        "bins": bins,
        "max_length": max_length,
        "dev": dev,
    }
    chosen = recipes.resolve(recipe, "prepare", flags)
    root, path = options.input_path(folder), options.output_path(destination, "corpus.zarr")

    from speechscope import artifact_writer, provenance
    from speechscope.corpus.prepare import Settings, prepare
    from speechscope.features.stft import Stft
    from speechscope.progress import bar

    stft = Stft(
        chosen["samples"],
        chosen["window"],
        chosen["overlap"],
        2 * (chosen["bins"] - 1),
        chosen["rate"],
    )
    if stft.points < stft.window:
        raise UsageProblem(
            f"--bins {stft.bins}: the {stft.window}-sample window needs {stft.window // 2 + 2}"
        )
    settings = Settings(
        stft=stft,
        features=chosen["features"],
        normalize=chosen["normalize"],
        max_length=_length(chosen["max_length"]),
        drop_sa=chosen["drop_sa"],
        drop_labels=tuple(chosen["drop_labels"].split()),
        dev=chosen["dev"],
        seed=seed,
    )
    config = {
        "recipe": recipe,
        **chosen,
        "source": str(root.resolve()),
        "stft": {
            "window": stft.window,
            "overlap": stft.overlap,
            "points": stft.points,
            "rate": stft.rate,
        },
    }
    record = provenance.new_record("corpus", config=config, seed=seed, device="cpu")
    title = f"Phone segments of {root.name}"
    with (
        artifact_writer.create(path, title, record, force=force) as writer,
        bar("prepare", quiet=quiet) as progress,
    ):
        summary = prepare(root, writer, settings, workers=workers, progress=progress)
        writer.set_config(
            dropped=dict(summary.dropped),
            skipped=summary.skipped,
            seconds=summary.seconds,
        )
    dropped = ", ".join(f"{n} {why}" for why, n in summary.dropped.items() if n)
    output.note(
        f"{summary.items} segments of {summary.utterances} utterances "
        f"({summary.seconds / 60:.1f} min)"
        + (f"; left out by the recipe: {dropped}" * bool(dropped)),
        quiet=quiet,
    )
    facts = {
        "items": summary.items,
        "utterances": summary.utterances,
        "seconds": summary.seconds,
        "dropped": dict(summary.dropped),
        "skipped": summary.skipped,
    }
    output.wrote(path, "corpus", as_json=as_json, facts=facts)
    if summary.skipped:
        lines = output.shortened(summary.skipped, str(path))
        if not skip_bad:
            raise ItemsSkipped(f"{len(summary.skipped)} items were left out (exit 4)", lines)
        for line in lines:
            output.note(f"skipped {line}", quiet=quiet)


def _length(text: str) -> int | str:
    """Return a number of samples, or a percentile as it was written."""
    number = text.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if text.endswith("%") and 0 < value <= 100:
        return text
    if number == text and value >= 1 and value == int(value):
        return int(value)
    raise UsageProblem(f"--max-length {text}: give samples (2554) or a percentile (95%)")
