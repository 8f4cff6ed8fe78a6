"""``speechscope relevance``: what in an input a network's answer rests on."""

from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING, ClassVar

from speechscope.errors import UsageProblem
from speechscope.registry import RELEVANCE, RULES
from speechscope.settings import option, record_of, setting
from speechscope.stages.seeing import Seeing, everything, looked_into
from speechscope.stages.shared import (
    Choosing,
    Computing,
    Looking,
    Propagating,
    Reading,
    Sharded,
    Sounding,
    Spread,
    Written,
    listed,
)
from speechscope.work.progress import Console

if TYPE_CHECKING:
    from speechscope.corpus.store import Corpus
    from speechscope.store.record import Record


LARGE = 10**9
"""Bytes of an artifact that are said before they are written (chosen)."""


@dataclass(frozen=True, kw_only=True)
class Relevance(
    Seeing, Reading, Choosing, Propagating, Sounding, Looking, Sharded, Computing, Spread
):
    """Find what in test items the network's answer rests on.

    Gradients, guided backpropagation, layer-wise relevance propagation and others, of the score
    before softmax (Krug 2018, sec. 3.4; Muckenhirn 2019, sec. 3).

    Example: speechscope relevance --method guided,lrp --rule krug --target label
    """

    usual: ClassVar[str] = "relevance.zarr"
    method: tuple[str, ...] = setting(
        ("gradient", "lrp"),
        "How.",
        "Krug 2018, sec. 3.4: sensitivity and LRP",
        choices=RELEVANCE.names,
    )
    rule: str = setting(
        "epsilon",
        "Rule of lrp.",
        "Bach et al. 2015, eq. 58, the rule Krug 2018 starts from",
        choices=RULES.names,
    )
    target: str = setting(
        "predicted",
        "predicted, label or a class; @TIME or @START-STOP [s]; text:HELLO by CTC.",
        "Krug 2018, sec. 3.4, and Muckenhirn 2019, sec. 3.1",
        choices=("predicted", "label"),
        others=True,
    )
    layer: str | None = option(None, "Explain what enters this layer instead.")
    steps: int = setting(
        50, "Steps of integrated.", "Sundararajan et al. 2017, sec. 5: 20 to 300 do", low=1
    )
    samples: int = setting(
        50, "Copies of smoothgrad.", "Smilkov et al. 2017, sec. 3.2: no gain beyond", low=1
    )
    noise: float = setting(
        0.15,
        "Noise of smoothgrad.",
        "Smilkov et al. 2017, sec. 3.2: 10 to 20 % of the range",
        low=0,
    )
    shifts: int = setting(
        1,
        "Mean over waveforms moved so far.",
        "chosen: off; the step of a waveform network's first layer evens it out",
        low=1,
    )
    patch: str = setting(
        "10x4",
        "What occlusion hides: BINSxFRAMES, 400Hzx40ms, 40ms, 400Hz, phone.",
        "chosen: 400 Hz by 36 ms of the default input [bins x frames]",
    )
    stride: str = setting(
        "5x2", "From one patch to the next, likewise.", "chosen: half a patch [bins x frames]"
    )
    frame: int = setting(
        400,
        "Frames of the spectra of waveforms [samples].",
        "Muckenhirn 2019, sec. 4.2.1: 25 ms [samples]",
        flags="",
        low=1,
    )
    hop: int = setting(
        160,
        "From one frame to the next [samples].",
        "chosen: the usual 10 ms [samples]",
        flags="",
        low=1,
    )
    textgrid: Path | None = option(
        None,
        "Write a TextGrid and a table of the answers along each recording there.",
        metavar="DIR",
    )
    resume: bool = option(False, "Go on with a stopped or a finished run.")
    per_class: int = setting(
        1, "Random test items a class.", "chosen: as for reconstructions", low=1
    )


def run(settings: Relevance, console: Console) -> Written:
    """Write ``relevance.zarr``."""
    from speechscope.corpus import store
    from speechscope.relevance.store import (
        Explainer,
        called,
        unfinite,
        write_relevance,
        write_sounds,
    )
    from speechscope.relevance.timeline import write_recordings
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.wav import check_target
    from speechscope.store.writer import create_artifact
    from speechscope.work.device import choose
    from speechscope.work.local import executor

    settings.exclusive("items", "per_class", "all")
    path = settings.path()
    device = choose(settings.device)
    subject, left_out = looked_into(settings, device, path, console)
    items = store.choose(
        subject.corpus,
        "test",
        ranges=None if settings.items is None else list(settings.items),
        everything=everything(settings, subject.corpus),
        count=settings.per_class,
        seed=settings.seed,
    )
    _check_sounds(settings, subject.corpus)
    if settings.textgrid is not None:
        check_target(settings.textgrid, force=settings.force or settings.resume)
    work = Explainer(subject, items[:1], settings)
    count = len(items)
    step = work.chunk_items(count)
    part = settings.part()
    shard = {} if part is None else {"shard": part.config(count, step)}
    if part is not None:
        items = items[part.part(count, step)]
    layer = {"layer": settings.layer, "split": "test", "activity": list(settings.activity)}
    record = new_record(
        "relevance",
        config={**record_of(settings), **layer, **subject.config, **shard},
        seed=settings.seed,
        device=str(subject.device),
        parents=[entry(*parent, path) for parent in subject.parents],
    )
    alone = work.alone(-(-len(items) // step))
    if _finished(settings, path, record):
        console.note(f"{path}: was finished before")
        bad = unfinite(path)
    else:
        with (
            executor(settings.workers, settings.scheduler, alone=alone) as workers,
            create_artifact(
                path, "Relevance of inputs", record, force=settings.force, resume=settings.resume
            ) as writer,
            console.bar("relevance", "maps") as progress,
        ):
            _say_size(work.size(len(items)), len(items), path, console)
            bad = write_relevance(
                writer, work, items, step=step, executor=workers, progress=progress
            )
    if settings.textgrid is not None:
        again = settings.force or settings.resume
        write_recordings(path, settings.textgrid, subject.corpus, force=again)
    if settings.wav is not None:
        write_sounds(path, settings.wav, subject.corpus, force=settings.force)
    console.note(f"{len(items)} items, {','.join(settings.method)}")
    if work.flat:
        console.note(
            f"{work.flat} items have relevance 0 everywhere by a method: no slope leads to them "
            "(a rounding, a threshold, a unit that is off)"
        )
    if work.incomplete:
        console.note(
            f"the integrated gradients of {work.incomplete} items do not add up to what the score "
            "is over that of zeros, to a tenth: the slope jumps or stops on the way (more --steps "
            "may do, or --method occlusion)"
        )
    lost = [f"{called(subject.corpus, int(items[n]))}: relevance is not a number" for n in bad]
    skipped = [*left_out, *lost]
    problem = f"{len(skipped)} items or parts of {settings.input or 'the corpus'} were left out"
    return Written(path, "relevance", {"items": len(items)}, listed(skipped, path), problem)


def _say_size(size: int, items: int, path: Path, console: Console) -> None:
    """Say in advance what fills a disk."""
    free = disk_usage(path.parent).free
    if size > LARGE:
        console.note(
            f"{path}: {items} items take up to {size / 1e9:.1f} GB, of {free / 1e9:.0f} GB that "
            "are free; relevance --items takes fewer"
        )


def _finished(settings: Relevance, path: Path, record: "Record") -> bool:
    """Say whether a run that is gone on with has nothing left to do."""
    from speechscope.store.artifact import open_record
    from speechscope.store.record import work_of

    again = settings.resume and not settings.force and path.exists()
    return again and work_of(open_record(path)) == work_of(record)


def _check_sounds(settings: Relevance, corpus: "Corpus") -> None:
    """Refuse ``--wav`` where there is no sound, or the folder may not be replaced."""
    from speechscope.store.wav import check_target

    if settings.wav is None:
        return
    if settings.layer is not None:
        raise UsageProblem("--wav: what enters a layer inside the network has no sound")
    if corpus.unit != "window" and not corpus.invertible:
        raise UsageProblem(f"--wav: {corpus.features} spectrograms have no waveform")
    check_target(settings.wav, force=settings.force)
