"""``speechscope report``: what artifacts hold, as one page or as figures for a paper."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from speechscope.errors import UsageProblem
from speechscope.settings import argument, common, option
from speechscope.stages.score import Score, listen
from speechscope.stages.shared import Moved, OnDevice, Writing, Written
from speechscope.work.progress import Console

FORMATS = ("html", "png", "pdf")
USUAL = ("corpus.zarr", "model.pt", "decoder.pt", "inverse.pt", "inversion.zarr", "relevance.zarr",
         "maximum.zarr", "navai.zarr", "clusters.zarr")  # fmt: skip
"""The names that stages write by, in the order of a page."""


@dataclass(frozen=True, kw_only=True)
class Report(Moved, Writing, OnDevice):
    """Show what artifacts hold in one self-contained HTML page, a player beside every picture.

    A corpus: class counts, examples, its round trip. A model: training curves, confusions,
    first-layer filters and responses. A decoder: curves and the leak test. Inversions: grids by
    method and layer, scores by layer, intensities. Relevance: overlays and spectra. Maxima, NAvAI
    patterns by class and alignment, and clusters: F by layer, a projection in space whose points
    sound, compositions, F1-F2 maps.

    The page opens with what was found: of every artifact its main figure beside what chance gives
    and its interval, and the sentence of speechscope score.

    --format png or pdf writes each figure as a file of its own into the folder -o names, or the one
    figure that --figure leaves into the file it names, --width wide and in a --style.

    Example: speechscope report inversion.zarr relevance.zarr -o report.html
    """

    usual: ClassVar[str] = "report.html, or figures"
    artifacts: tuple[Path, ...] | None = argument(
        None,
        "Any artifacts; - reads one path. By default those here by their usual names.",
        metavar="[ARTIFACT…]",
    )
    format: str | None = option(None, "By default the suffix of -o, or html.", choices=FORMATS)
    figure: tuple[str, ...] = option((), "Only figures of these names.")
    examples: int = option(12, "Items a figure shows, and sounds, at most.", low=1)
    items: tuple[str, ...] = option((), "Positions in the artifact, such as 0,5,7; the first ones.")
    width: str | None = option(
        None, "Of figures as files, such as 84mm; by default as they need.", metavar="LENGTH"
    )
    style: str | None = option(
        None, "Of figures as files: a style of matplotlib.", metavar="FILE|NAME"
    )
    scores: bool = option(True, "Work out scores that nobody kept.", flags="")
    skip_bad: bool = common(False, "Accept left-out items: exit 0, not 4.")

    def scoring(self) -> "Score":
        """Return how the artifacts are scored."""
        return Score(
            artifacts=self.artifacts or (),
            corpus=self.corpus,
            checkpoint=self.checkpoint,
            device=self.device,
        )

    @property
    def positions(self) -> list[int] | None:
        """The items asked for; None: the first ones.

        Raises
        ------
        UsageProblem
            One is no position.
        """
        if not all(item.isdecimal() for item in self.items):
            raise UsageProblem(f"--items {','.join(self.items)}: give positions such as 0,5,7")
        return [int(item) for item in self.items] or None


def run(settings: Report, console: Console) -> Written:
    """Write the page, or the figures."""
    form = _format(settings)
    paths = settings.artifacts or [Path(name) for name in USUAL if Path(name).exists()]
    if not paths:
        raise UsageProblem(f"name an artifact; there is none here of {', '.join(USUAL)}")
    _ = settings.positions  # refused before anything is read
    for name in ("width", "style") if form == "html" else ():
        if getattr(settings, name) is not None:
            raise UsageProblem(f"--{name} goes with --format png or pdf")
    path = settings.path("report.html" if form == "html" else "figures")

    from speechscope.manual import topics
    from speechscope.report.chapters import chapters
    from speechscope.report.page import write_page
    from speechscope.report.paper import write_figures
    from speechscope.scores.statistics import kept
    from speechscope.store.lineage import record_at
    from speechscope.store.staging import refuse_existing

    refuse_existing(path, force=settings.force, owned=lambda _: True)
    for artifact in paths:
        if kept(artifact, settings.scoring()) is None:
            listen(settings.scoring(), artifact, record_at(artifact), console)
    with console.bar("report", "artifacts") as progress:
        written = chapters(paths, settings, progress)
    if form == "html":
        words = topics()["glossary"].read_text(encoding="utf-8")
        size = write_page(written, path, settings.examples, words, force=settings.force)
        console.note(f"{size / 1e6:.1f} MB, {settings.examples} examples a figure at most")
        facts = {"figures": sum(len(chapter.figures) for chapter in written), "bytes": size}
    else:
        made = {"width": settings.width, "style": settings.style}
        names = write_figures(written, path, form, **made, force=settings.force)
        console.note(f"{len(names)} figures")
        facts = {"figures": len(names)}
    left_out = [f"{chapter.title}: {line}" for chapter in written for line in chapter.left_out]
    problem = f"{len(left_out)} parts left out (--skip-bad accepts that)"
    return Written(path, "report", facts, [] if settings.skip_bad else left_out, problem)


def _format(settings: Report) -> str:
    """Return the format that is asked for, or that the suffix of the output says."""
    if settings.format is not None:
        return settings.format
    form = "html" if settings.output is None else settings.output.suffix.removeprefix(".")
    if form not in FORMATS:
        raise UsageProblem(f"--format {form or settings.output}: choose from {', '.join(FORMATS)}")
    return form
