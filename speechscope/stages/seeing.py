"""Other speech than a network was trained with: ``--input`` of the stages that look into it."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.settings import Settings, of_record, option, record_of
from speechscope.stages.prepare import Prepare
from speechscope.work.progress import Console

if TYPE_CHECKING:
    import torch

    from speechscope.corpus.store import Corpus
    from speechscope.networks.subject import Subject

WAIT = 1.0
"""Seconds between looks at whether another process has prepared what is waited for."""


@dataclass(frozen=True, kw_only=True)
class Seeing(Settings):
    """Stages that look at any speech with a trained network."""

    input: Path | None = option(
        None, "Other speech: a corpus, a recording or a folder of them.", metavar="PATH"
    )
    every: int | None = option(
        None, "Of speech without labels: samples from one segment to the next.", low=1
    )
    pauses: bool = option(False, "Of speech without labels: cut at pauses, and leave these out.")


def looked_into(
    settings: Any, device: "torch.device", output: Path, console: Console
) -> tuple["Subject", list[str]]:
    """Return the network of a stage with the speech it is to look at, and what is left out.

    Raises
    ------
    SpeechscopeError
        See `seen`, and `speechscope.networks.subject.subject_of`.
    """
    from speechscope.networks.subject import check_shortest

    subject: Subject = settings.subject(device)
    for note in subject.notes:
        console.note(note)
    corpus, left_out = seen(settings, settings.input, subject.corpus, output, console)
    if corpus is not subject.corpus:
        subject = subject.looking_at(corpus)
        if subject.trims:
            check_shortest(subject.network, subject.corpus, device)
    return subject, left_out


def everything(settings: Any, corpus: "Corpus") -> bool:
    """Whether all items are taken: those of a recording that nobody labelled are of one class."""
    return settings.all or not (corpus.labelled or {"items", "per_class"} & set(settings.given))


def check_there(source: Path) -> None:
    """Refuse an input that is not there, or whose name cannot be said.

    Raises
    ------
    SpeechscopeError
        It is not, or cannot.
    """
    from speechscope.corpus.files import UNSAYABLE, sayable

    if not source.exists():
        raise SpeechscopeError(f"--input {source}: is not there")
    if not sayable(str(source)):
        raise SpeechscopeError(f"--input names {str(source)!r}, {UNSAYABLE}")


def seen(
    settings: Any, source: Path | None, trained: "Corpus", output: Path, console: Console
) -> tuple["Corpus", list[str]]:
    """Return the speech that is looked at, as the network takes it, and what of it is left out.

    A corpus prepared as that of the network is taken as it is. All else is prepared so: into
    ``NAME.DIGEST.zarr`` beside the output, where it is found again by the next stage.

    Parameters
    ----------
    settings
        Of the stage: ``every`` and ``workers``, where it has them.
    source
        The speech; None: that which the network was trained with.
    trained
        The corpus the network was trained with.
    output
        What the stage writes.

    Raises
    ------
    SpeechscopeError
        There is nothing there that can be used.
    UsageProblem
        It cannot be made what the network takes.
    """
    from speechscope.corpus.seen import Seen, differences
    from speechscope.corpus.store import Corpus
    from speechscope.store.artifact import METADATA
    from speechscope.store.lineage import digest_at

    if source is None:
        return trained, []
    check_there(source)
    is_corpus = (source / METADATA).exists()
    if is_corpus and digest_at(source) == digest_at(trained.path):
        return trained, []
    path = source
    skipped: list[str] = []
    if not is_corpus or differences(Corpus(source), trained):
        path, skipped = _prepared(settings, source, trained, output, console)
    corpus = Seen(path, trained)
    unknown = corpus.unknown()
    if unknown:
        some = ", ".join(f"{name} {count}" for name, count in list(unknown.items())[:20])
        console.note(
            f"{sum(unknown.values())} items of {len(unknown)} classes that the network does not "
            f"know are left out: {some}{' …' * (len(unknown) > 20)}"
        )
    return corpus, skipped


def _prepared(
    settings: Any, source: Path, trained: "Corpus", output: Path, console: Console
) -> tuple[Path, list[str]]:
    """Prepare speech as the corpus of a network was; return where, and what was left out."""
    from time import sleep

    from speechscope.store.artifact import open_record
    from speechscope.store.lineage import digest_at
    from speechscope.store.staging import BeingWritten, refuse_busy

    every, pauses = getattr(settings, "every", None), getattr(settings, "pauses", False)
    made = {
        "source": str(source.resolve()),
        "source_digest": _digest(source),
        "prepared_for": digest_at(trained.path),
        "every": every,
        **({"pauses": True} if pauses else {}),
    }
    # Named for all that it depends on: nothing that was made from another is ever replaced.
    name = hashlib.sha256(repr(made).encode()).hexdigest()[:6]
    path, waits = output.parent / f"{source.resolve().stem}.{name}.zarr", False
    while not path.exists():
        try:
            refuse_busy(path)
            return path, _prepare(settings, source, trained, path, made, console)
        except BeingWritten:  # by another shard of the same work
            if not waits:
                console.note(f"{path.name}: another process prepares it, and is waited for")
            waits = True
            sleep(WAIT)
        except UsageProblem:
            if not path.exists():  # else another was faster
                raise
    console.note(f"{path.name}: {source} as it was prepared before")
    return path, list(open_record(path)["config"]["skipped"])


def _prepare(
    settings: Any,
    source: Path,
    trained: "Corpus",
    path: Path,
    made: dict[str, Any],
    console: Console,
) -> list[str]:
    """Prepare speech as the corpus of a network was; return what was left out."""
    from tempfile import TemporaryDirectory

    from speechscope.corpus.arrays import LISTED
    from speechscope.corpus.plan import LONGER
    from speechscope.corpus.prepare import prepare
    from speechscope.corpus.seen import readable
    from speechscope.store.record import new_record
    from speechscope.store.writer import create_artifact
    from speechscope.work.local import executor

    every, pauses = made["every"], "pauses" in made
    with TemporaryDirectory() as folder:
        lost: list[str] = []
        root, labelled = readable(source, Path(folder), trained, lost, every, pauses=pauses)
        chosen = _as_trained(root, trained, labelled, settings.device)
        record = new_record(
            "corpus",
            config={**record_of(chosen), "tier": chosen.tier, "mapping": None, **made},
            seed=int(trained.artifact.record["seed"]),
            device=chosen.device,
        )
        try:
            with (
                executor(getattr(settings, "workers", 1), None, threads=True) as tasks,
                create_artifact(path, f"Speech of {source.name}", record, force=False) as writer,
                console.bar("prepare", "recordings") as progress,
            ):
                summary = prepare(root, writer, chosen, executor=tasks, progress=progress)
                lost += summary.skipped
                writer.set_config(skipped=lost[:LISTED])
        except SpeechscopeError as error:
            # What was written for `prepare` alone is not what anybody named.
            said = str(error).replace(str(root), f"--input {source}", 1)
            said = said.replace(LONGER, "; without label files they are looked at in stretches")
            error.args = (_named(said, root, Path(folder), source),)
            raise
    named = "stretches" if trained.whole and not labelled else f"{chosen.unit}s"
    what = f"{summary.items} {named} of {summary.utterances} recordings"
    console.note(f"{path.name}: {what}{'' if labelled else ', without labels'}")
    for why, count in summary.dropped.items():
        if count:
            console.note(f"{path.name}: {count} are left out, {why}")
    return [_named(line, root, Path(folder), source) for line in lost]


def _named(line: str, root: Path, folder: Path, source: Path) -> str:
    return line.replace(str(root), str(source)).replace(str(folder), str(source))


def _as_trained(root: Path, trained: "Corpus", labelled: bool, device: str) -> Prepare:
    """Return the settings of a corpus for other speech: all to test with, labels as they are."""
    config = trained.config
    given: dict[str, Any] = {"folder": root, "device": device, "split": "test", "dev": 0.0}
    longest = config["max_length"]
    if not labelled:
        longest = config["samples"] if trained.unit == "segment" or trained.whole else None
    given["max_length"] = "none" if longest is None else str(longest)
    if not labelled and trained.unit == "utterance":
        given["labels"] = "speaker"  # nothing is said of their words
    elif config["labels"] == "phone" or trained.unit == "segment":
        given["phone_set"] = "as-is"
    chosen = of_record(Prepare, "prepare", config, **given)
    return replace(chosen, recipe=str(config["recipe"])).resolved()


def _digest(source: Path) -> str:
    """Return a digest of the names, sizes and times of what is looked at."""
    files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
    found = hashlib.sha256()
    for file in files:
        status = file.stat()
        found.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return found.hexdigest()
