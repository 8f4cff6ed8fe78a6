"""``speechscope synth``: a demonstration corpus."""

from dataclasses import dataclass
from pathlib import Path

from speechscope.settings import Settings, argument, common, setting
from speechscope.stages.shared import Written
from speechscope.work.progress import Console


@dataclass(frozen=True, kw_only=True)
class Synth(Settings):
    """Make a phone-labelled demonstration corpus in TIMIT layout, without a download.

    Needs Praat's synthesizer: pip install 'speechscope[demo]'.

    Example: speechscope synth timit/ && speechscope prepare timit/
    """

    directory: Path = argument(..., "The corpus folder to make.", metavar="DIR")
    speakers: int = setting(
        40, "Speakers.", "chosen: enough voices to hold a quarter of them out", low=2
    )
    sentences: int = setting(10, "Sentences each.", "TIMIT: 2 SA, 5 SX and 3 SI per speaker", low=1)
    language: str = setting("en-us", "Language.", "TIMIT's language")
    sphere: bool = setting(
        False,
        "NIST SPHERE instead of RIFF.",
        "chosen: RIFF is read everywhere; TIMIT itself is SPHERE",
        flags="--sphere/--no-sphere",
    )
    force: bool = common(False, "Replace an existing output.", flags="--force -f")
    seed: int = common(0, "Seed of everything drawn.", low=0)
    workers: int = common(1, "Threads or processes to use.", low=1)


def run(settings: Synth, console: Console) -> Written:
    """Write a corpus folder."""
    from speechscope.store.staging import staged
    from speechscope.synth.corpus import is_synthetic, synthesize

    directory = settings.directory
    with (
        staged(directory, force=settings.force, directory=True, owned=is_synthetic) as folder,
        console.bar("synth", "speakers") as progress,
    ):
        report = synthesize(folder, settings, progress)
    console.note(
        f"{report.speakers} speakers, {report.utterances} utterances, {report.phones} phones, "
        f"{report.seconds / 60:.1f} min of speech"
    )
    facts = {
        "speakers": report.speakers,
        "utterances": report.utterances,
        "phones": report.phones,
        "seconds": round(report.seconds, 1),
    }
    return Written(directory, "corpus folder", facts)
