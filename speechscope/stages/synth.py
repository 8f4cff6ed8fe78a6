"""``speechscope synth``: a demonstration corpus."""

from pathlib import Path
from typing import Annotated

import typer

from speechscope import recipes
from speechscope.stages import options, output


def command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The corpus folder to make.")],
    speakers: Annotated[
        int | None, options.setting("--speakers", "Speakers.", "synth.speakers", min=2)
    ] = None,
    sentences: Annotated[
        int | None, options.setting("--sentences", "Sentences each.", "synth.sentences", min=1)
    ] = None,
    language: Annotated[
        str | None, options.setting("--language", "Language.", "synth.language")
    ] = None,
    sphere: Annotated[
        bool | None,
        options.setting("--sphere/--no-sphere", "NIST SPHERE instead of RIFF.", "synth.sphere"),
    ] = None,
    force: options.Force = False,
    seed: options.Seed = 0,
    workers: options.Workers = 1,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    r"""Make a phone-labelled demonstration corpus in TIMIT layout, without a download.

    Needs Praat's synthesizer: pip install 'speechscope\[demo]'.

    Example: speechscope synth timit/ && speechscope prepare timit/
    """
    flags = {"speakers": speakers, "sentences": sentences, "language": language, "sphere": sphere}
    settings = recipes.resolve(recipes.DEFAULT, "synth", flags)

    from speechscope.store.staging import staged
    from speechscope.synth.corpus import is_synthetic, synthesize
    from speechscope.work.progress import bar

    with (
        staged(directory, force=force, directory=True, owned=is_synthetic) as folder,
        bar("synth", quiet=quiet) as progress,
    ):
        report = synthesize(folder, seed=seed, workers=workers, progress=progress, **settings)
    facts = {
        "speakers": report.speakers,
        "utterances": report.utterances,
        "phones": report.phones,
        "seconds": round(report.seconds, 1),
    }
    output.note(
        f"{report.speakers} speakers, {report.utterances} utterances, {report.phones} phones, "
        f"{report.seconds / 60:.1f} min of speech",
        quiet=quiet,
    )
    output.wrote(directory, "corpus folder", as_json=as_json, facts=facts)
