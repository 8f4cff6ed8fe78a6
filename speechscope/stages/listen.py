"""``speechscope listen``: from a recording to a page of what a network answers along it."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from speechscope.errors import UsageProblem
from speechscope.registry import RELEVANCE
from speechscope.settings import make, option, setting
from speechscope.stages import relevance, report
from speechscope.stages.relevance import Relevance
from speechscope.stages.report import Report
from speechscope.stages.seeing import Seeing, check_there
from speechscope.stages.shared import Computing, Looking, Reading, Spread, Writing, Written
from speechscope.work.progress import Console


@dataclass(frozen=True, kw_only=True)
class Listen(Seeing, Reading, Looking, Writing, Computing, Spread):
    """Look at a recording with a network: what it answers along it, and why, as a page.

    Makes a folder with the page (report.html), a Praat TextGrid and a table of every recording,
    and relevance.zarr, which the other commands take. Labels are not needed.

    Example: speechscope listen model.pt --input interview.wav
    """

    usual: ClassVar[str] = "RECORDING-heard"
    method: tuple[str, ...] = setting(
        ("guided",),
        "What is drawn under the spectrogram.",
        "Muckenhirn 2019, sec. 3.1",
        choices=RELEVANCE.names,
    )
    resume: bool = option(False, "Go on with a stopped or a finished run.")


def run(settings: Listen, console: Console) -> Written:
    """Write the folder."""
    if settings.input is None:
        raise UsageProblem("name a recording with --input")
    from speechscope.store.wav import MARK, check_target, file_word

    check_there(settings.input)
    folder = settings.path(f"{file_word(settings.input.resolve().stem)}-heard")
    check_target(folder, force=settings.force or settings.resume)
    shared = {field.name for field in fields(Relevance)} - {"given", "recipe"}
    values: dict[str, Any] = {
        field.name: getattr(settings, field.name)
        for field in fields(settings)
        if field.name in shared
    }
    folder.mkdir(exist_ok=True)
    (folder / MARK).write_text(f"{settings.input}\n", encoding="utf-8")
    made = folder / "relevance.zarr"
    values |= {"all": True, "output": made, "textgrid": folder / "recordings"}
    done = relevance.run(make(Relevance, "relevance", values, settings.recipe), console)
    path = folder / "report.html"
    page = {
        "artifacts": (made,),
        "output": path,
        "force": settings.force or settings.resume,
        "scores": False,  # of a thousand recordings they take hours
    }
    report.run(make(Report, "report", page), console)
    return Written(path, "report", done.facts, done.skipped, done.problem)
