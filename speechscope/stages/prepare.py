"""``speechscope prepare``: from recordings to corpus.zarr."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from speechscope.errors import UsageProblem
from speechscope.registry import LAYOUTS, PHONE_SETS, REPRESENTATIONS, UNITS
from speechscope.settings import argument, common, option, record_of, setting
from speechscope.stages.shared import FromRecipe, OnDevice, Sharded, Spread, Table, Written, listed
from speechscope.work.progress import Console

GPUS = ("/dev/nvidiactl", "/dev/dxg")
"""What the drivers of GPUs are reached by: on Linux, and on Linux inside Windows."""
AUTO = "auto"
"""The phone set that is found out."""
WAVEFORM = "waveform"
"""The features of windows: the samples themselves, no representation."""


@dataclass(frozen=True, kw_only=True)
class Prepare(FromRecipe, Sharded, Spread, OnDevice):
    """Cut a corpus into items and store their inputs and labels.

    Reads TIMIT in all its variants, Praat TextGrids, LibriSpeech, xlabel and HTK label files, and
    a table of recordings. Items are phone segments, frames with context, windows of the waveform,
    or whole utterances. What cannot be used is named and left out, and the exit code is 4 unless
    --skip-bad accepts that.

    Example: speechscope prepare corpus/ --recipe pellegrini2016 --tier phones -o corpus.zarr
    """

    usual: ClassVar[str] = "corpus.zarr"
    folder: Path = argument(..., "A corpus folder, or a manifest; - reads its path.", metavar="DIR")
    layout: str | None = option(
        None, "How it is laid out, if not to be found out.", choices=LAYOUTS.names
    )
    tier: str | None = option(None, "The tier with the phones, or a pattern such as *phone*.")
    unit: str = setting(
        "segment", "What an item is.", "sec. 3: phones are cut out", choices=UNITS.names
    )
    labels: str = setting(
        "phone", "What items are labelled with.", "sec. 3.1", choices=("phone", "letter", "speaker")
    )
    annotated: str = option(
        "canonical",
        "Of labels such as AA1,AO,s: what should have been said, or what was.",
        choices=("canonical", "perceived"),
    )
    label_rate: int | None = option(
        None, "Sample numbers in label files count at this rate [Hz].", low=1
    )
    speaker_pattern: str | None = option(
        None, "Who speaks: what this finds in the path of a recording.", metavar="REGEX"
    )
    phone_set: str = setting(
        AUTO,
        "The phones; auto: the set that knows the labels.",
        "chosen; of TIMIT's labels it makes sec. 3.1's 48 (Lee & Hon 1989), scored as 39",
        choices=lambda: (AUTO, *PHONE_SETS.names()),
    )
    mapping: Path | None = option(None, "A table of label, class, folded in place of a phone set.")
    split: str = setting(
        "auto",
        "folder, speakers:FILE, share:test=0.2,dev=0.1, or recordings:0.1.",
        "chosen: what the folders say, else a quarter of the speakers to test on",
    )
    sample_rate: int = setting(
        16000,
        "Sampling rate [Hz].",
        "TIMIT's sampling rate (sec. 3), and LibriSpeech's",
        low=1,
        record="rate",
    )
    max_length: str = setting(
        "2554",
        "Longest item kept: samples, a percentile such as 95%, or none.",
        "sec. 3.2: TIMIT's 95th percentile [samples]",
    )
    length: int = setting(
        2554,
        "Samples of a window, or of a padded segment.",
        "sec. 3.2: segments are padded to this [samples]",
        low=2,
        record="samples",
    )
    window: int = setting(267, "Samples a frame is made of.", "sec. 3.2: 16.7 ms [samples]", low=2)
    overlap: int = setting(
        122, "Samples that neighbouring frames share.", "sec. 3.2: 7.6 ms [samples]", flags=""
    )
    hop: int | None = option(None, "Samples from one frame or window to the next.", low=1)
    bins: int = setting(
        201,
        "Frequency bins, bands or coefficients.",
        "sec. 3.2: 400 sampling points give 201 bins",
        low=2,
    )
    features: str = setting(
        "real",
        "Representation.",
        "sec. 3.2, and Riemens 2015, sec. 2.3",
        choices=lambda: (*REPRESENTATIONS.names(), WAVEFORM),
    )
    deltas: int = setting(
        0, "Derivatives as channels.", "sec. 3.2: the spectrogram alone", low=0, high=2
    )
    padding: str = setting(
        "zeros",
        "What the room around a segment holds: nothing, or what was said there.",
        "sec. 3.2: zeros on both sides",
        choices=("zeros", "speech"),
    )
    duration: bool = setting(
        False,
        "A channel with the segment's length.",
        "chosen: no paper has it",
        flags="--duration/--no-duration",
    )
    normalize: str = setting(
        "none",
        "Loudness, or z-normalisation.",
        'sec. 3.2: "spectrogram intensities were not normalized"',
        choices=("none", "gain", "utterance", "band", "item"),
    )
    context: int = setting(
        1, "Frames of a frame item, odd.", "sec. 3: a segment stands by itself", low=1
    )
    drop_sa: bool = setting(
        True,
        "Leave out TIMIT's SA sentences, but where speakers are told apart.",
        "sec. 3.1: SA sentences are removed",
        flags="--drop-sa/--keep-sa",
    )
    dev: float = setting(
        0.0,
        "Share of the training speakers set apart.",
        "sec. 3: training and test sets only",
        low=0.0,
        high=0.9,
    )
    update: bool = option(False, "Read only what changed since it was prepared so.")
    dry_run: bool = option(False, "Write nothing: show what would be read, and left out.")
    skip_bad: bool = common(False, "Accept left-out items: exit 0, not 4.")
    seed: int = common(0, "Seed of everything drawn.", low=0)

    @property
    def marked(self) -> bool:
        """Whether time marks are read."""
        return self.labels == "phone" or self.unit == "segment"

    @property
    def whole(self) -> bool:
        """Whether an item is the waveform of a recording, with the times of its phones."""
        return self.unit == "utterance" and self.features == WAVEFORM

    @property
    def timed(self) -> bool:
        """Whether items are whole utterances, beside which phones stand where they are marked."""
        return self.unit == "utterance" and not self.whole

    @property
    def longest(self) -> int | str | None:
        """The longest item kept [samples], a percentile as it was written, or None: all.

        Segments and waveforms need one length: where all are kept, it is that of the longest.

        Raises
        ------
        UsageProblem
            `max_length` is none of these.
        """
        text = self.max_length
        if text == "none":
            return "100%" if self.unit == "segment" or self.whole else None
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

    def resolved(self) -> "Prepare":
        """Return the settings with what follows from others.

        Raises
        ------
        UsageProblem
            They cannot go together: see `check`.
        """
        window, overlap = self.window, self.overlap
        if self.hop is not None and self.unit == "window":
            window, overlap = self.hop, 0  # nothing else is made of their frames
        elif self.hop is not None:
            overlap = window - self.hop
        # Muckenhirn 2019, sec. 4.1: speakers are told apart by all ten of their sentences.
        drop_sa = self.drop_sa and self.labels != "speaker"
        found = replace(self, window=window, overlap=overlap, drop_sa=drop_sa, device=self._place())
        found.check()
        return found

    def _place(self) -> str:
        """Return where frames are transformed; what is decoded and cut stays on the CPU.

        PyTorch is asked only where there may be a GPU: its import takes longer than small corpora.
        """
        if self.device == "cpu" or (self.device == "auto" and not any(map(os.path.exists, GPUS))):
            return "cpu"
        from speechscope.work.device import choose

        return str(choose(self.device))

    def check(self) -> None:
        """Refuse what cannot go together.

        Raises
        ------
        UsageProblem
            Labels or features do not fit the unit, or a context has no middle frame.
        """
        unit, kind = f"--unit {self.unit}", self.unit
        letters, window = self.labels == "letter", self.window
        needed = WAVEFORM if kind == "window" else "a representation"
        sampled = kind == "window" or self.whole
        bands = f"--deltas {self.deltas}" if self.deltas else f"--normalize {self.normalize}"
        room = "--duration" if self.duration else f"--padding {self.padding}"
        roomy = self.padding != "zeros" or self.duration
        refusals = {
            f"--labels letter: {unit} has none; use utterance": letters and kind != "utterance",
            f"{unit}: has no one phone; use --labels letter or speaker": (
                self.labels == "phone" and kind == "utterance" and not self.whole
            ),
            f"--labels {self.labels}: waveforms of utterances come with their phones": (
                self.whole and self.labels != "phone"
            ),
            f"--features {self.features}: {unit} needs {needed}": (
                sampled != (self.features == WAVEFORM)
            ),
            f"{bands}: waveforms have no bands": (
                sampled and (self.deltas > 0 or self.normalize == "band")
            ),
            f"--length {self.length}: a segment holds at least one --window ({window})": (
                kind == "segment" and self.length < window
            ),
            f"--hop: give 1 to --window ({window}) samples": not 0 <= self.overlap < window,
            "--normalize item: for windows of the waveform (--unit window)": (
                kind != "window" and self.normalize == "item"
            ),
            f"{room}: {unit} has no segments to which it applies": kind != "segment" and roomy,
            f"--context {self.context}: an odd number has a middle frame": self.context % 2 == 0,
            f"--speaker-pattern {self.speaker_pattern}: is no regular expression": (
                self.speaker_pattern is not None and not _is_pattern(self.speaker_pattern)
            ),
            "--update: a shard is written anew": self.update and self.shard is not None,
            f"--mapping: --labels {self.labels} needs none": (
                self.mapping is not None and not self.marked
            ),
        }
        for why, applies in refusals.items():
            if applies:
                raise UsageProblem(why)


def _is_pattern(text: str) -> bool:
    import re

    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _looked_at(root: Path, settings: Prepare) -> Table:
    """Return what a folder holds, and what of it would be used."""
    from functools import partial

    from speechscope.corpus.overview import looked_at
    from speechscope.corpus.plan import Plan
    from speechscope.corpus.prepare import BATCH
    from speechscope.work.local import executor

    with executor(settings.workers, settings.scheduler, threads=True) as tasks:
        plan = Plan.of(root, settings, partial(tasks.ordered_map, folder=None), BATCH)
        found = looked_at(root, plan, tasks)
    return Table([{"what": what, "found": text} for what, text in found.items()])


def run(settings: Prepare, console: Console) -> Written | Table:
    """Write ``corpus.zarr``; or with ``dry_run`` show what would be read."""
    from speechscope.corpus.prepare import prepare
    from speechscope.store.record import new_record
    from speechscope.store.writer import create_artifact
    from speechscope.work.local import executor

    settings = settings.resolved()
    _ = settings.longest  # refused before anything is made
    # Workers have working directories of their own.
    root = settings.folder if settings.scheduler is None else settings.folder.resolve()
    if settings.dry_run:
        return _looked_at(root, settings)
    path = settings.path()
    mapping = settings.mapping
    config = {
        **record_of(settings),
        "tier": settings.tier,
        "mapping": None if mapping is None else str(mapping.resolve()),
        "source": str(root.resolve()),
        "label_rate": settings.label_rate,
        "annotated": settings.annotated,
        "speaker_pattern": settings.speaker_pattern,
    }
    before = path if settings.update and path.exists() else None
    record = new_record("corpus", config=config, seed=settings.seed, device=settings.device)
    title = f"{settings.unit.capitalize()}s of {root.resolve().name}"
    with (
        executor(settings.workers, settings.scheduler, threads=True) as tasks,
        create_artifact(path, title, record, force=settings.force or settings.update) as writer,
        console.bar("prepare", "recordings") as progress,
    ):
        summary = prepare(
            root,
            writer,
            settings,
            executor=tasks,
            shard=settings.part(),
            progress=progress,
            before=before,
        )
    if before is not None:
        console.note(f"{summary.kept} recordings as they were, the others read anew")
    for line in summary.notes:
        console.note(line)
    skipped, lost = summary.skipped, summary.dropped
    seconds = summary.samples / settings.sample_rate
    dropped = ", ".join(f"{n} {why}" for why, n in lost.items() if n)
    console.note(
        f"{summary.items} {settings.unit}s of {summary.utterances} utterances "
        f"({seconds / 60:.1f} min)" + (f"; left out by the recipe: {dropped}" * bool(dropped))
    )
    facts = {
        "items": summary.items,
        "utterances": summary.utterances,
        "seconds": seconds,
        "dropped": dict(lost),
        "skipped": skipped,
    }
    count = summary.skipped_items
    problem = "" if settings.skip_bad else f"{count} items were left out (exit 4)"
    return Written(path, "corpus", facts, listed(skipped, path), problem)
