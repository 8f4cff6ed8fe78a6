"""``speechscope navai``: what inputs that a network answers alike have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from speechscope.errors import UsageProblem
from speechscope.registry import ALIGNMENTS, RULES
from speechscope.settings import argument, option, record_of, setting
from speechscope.stages.seeing import Seeing, looked_into, seen
from speechscope.stages.shared import (
    Computing,
    Looking,
    Propagating,
    Sharded,
    Sounding,
    Spread,
    Written,
    listed,
)
from speechscope.work.progress import Console

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from speechscope.navai.averages import Summing
    from speechscope.navai.examples import Examples
    from speechscope.navai.store import Layout


@dataclass(frozen=True, kw_only=True)
class Navai(Seeing, Propagating, Sounding, Looking, Sharded, Computing, Spread):
    """Average the inputs that are answered alike, moved to where the answer was found.

    Normalized averaging of aligned inputs (Krug 2018, sec. 3.5 and 3.6): by class, less the mean
    over all classes. With --mode profile, activations of every layer in place of inputs.

    Example: speechscope navai --class aa,iy,t --align none,min-sensitivity --wav heard
    """

    usual: ClassVar[str] = "navai.zarr"
    checkpoint: Path | None = argument(
        None, "model.pt or relevance.zarr, or - to read its path.", metavar="[MODEL]"
    )
    align: tuple[str, ...] = setting(
        ("none", "min-sensitivity", "max-sensitivity", "max-lrp"),
        "Where inputs are moved to.",
        "Krug 2018, sec. 3.6 and fig. 3",
        choices=ALIGNMENTS.names,
    )
    class_: tuple[str, ...] = option((), "Write these classes alone.")
    by: str = setting(
        "none",
        "Split classes too.",
        "Krug 2018, sec. 5, leaves splits for later",
        choices=("none", "phone", "speaker", "before", "after", "context"),
    )
    phones: Path | None = option(
        None,
        "With --by phone: a corpus with the phones of the same recordings.",
        metavar="CORPUS",
    )
    least: int = setting(
        5,
        "Fewest inputs a part of a class has.",
        "chosen: means of fewer inputs show single voices",
        low=1,
    )
    exclude: tuple[str, ...] = setting(
        ("apostrophe", "space", "twice", "thrice", "blank", "h#", "sil"),
        "Classes that do not count.",
        "Krug 2018, sec. 3.3: a to z alone; of phones (chosen) silence, their blank",
    )
    normalizer: str = setting(
        "inputs",
        "The mean over all.",
        "Krug 2018, sec. 3.5: the mean over frames of any letter",
        choices=("inputs", "classes"),
    )
    split: str = setting(
        "train",
        "Whose items.",
        "Krug 2018, sec. 3.5: the training data",
        choices=("train", "dev", "test"),
    )
    items: tuple[str, ...] | None = option(None, "Items of it by position: 0:100, 7.")
    rule: str = setting(
        "krug", "Rule of LRP.", "Krug 2018, sec. 3.4, eq. 3 and 4", choices=RULES.names
    )
    mode: str = setting(
        "inputs",
        "Means of inputs or of activations.",
        "Krug 2018, sec. 3.5",
        choices=("inputs", "profile"),
    )
    layer: tuple[str, ...] = setting(
        ("all",), "With --mode profile: layers.", "chosen: every layer"
    )
    adjust: bool = option(False, "With --mode profile: weigh by the score's derivative.")
    frame: str = setting(
        "mean",
        "With --mode profile --by phone: which frames stand for a phone.",
        "chosen: all; Pellegrini 2016, sec. 3, takes the third",
        choices=("third", "middle", "mean"),
    )

    @property
    def alignments(self) -> tuple[str, ...]:
        """What inputs are moved by; those of profiles are not."""
        return ("none",) if self.mode == "profile" else self.align

    @property
    def by_phone(self) -> bool:
        """Whether profiles are of phones that are marked in recordings, not of answers."""
        return self.mode == "profile" and self.by == "phone"

    def check(self) -> None:
        """Refuse settings that do not fit together.

        Raises
        ------
        UsageProblem
            Some do not.
        """
        if self.mode == "inputs":
            self.refuse(("layer", "adjust", "frame"), "--mode inputs")
        else:
            self.refuse(("align", "wav", "phones"), "--mode profile")
            if self.by not in ("none", "phone"):
                raise UsageProblem(f"--by {self.by}: profiles are of answers, or --by phone")
            self.refuse(("adjust",) if self.by_phone else ("frame",), "such profiles")
        if self.phones is not None and self.by != "phone":
            raise UsageProblem("--phones goes with --by phone")
        if self.shard is not None and self.wav is not None:
            raise UsageProblem("--wav: a shard holds sums, which have no sound")


def run(settings: Navai, console: Console) -> Written:
    """Write ``navai.zarr``, or a shard of it."""
    settings.check()
    path, shard = settings.path(), settings.part()

    from speechscope.navai.sound import check_sounds, write_sounds
    from speechscope.navai.store import SHARD, write_averages, write_shard
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.writer import create_artifact
    from speechscope.work.device import choose
    from speechscope.work.local import executor

    device = choose(settings.device)
    examples, origins, about, left_out = _examples(settings, device, path, console)
    parents = [entry(*origin, path) for origin in origins]
    work, layout = _work(settings, examples)
    if settings.wav is not None:
        check_sounds(examples.corpus, settings.wav, force=settings.force)
    if settings.phones is not None:
        parents.append(entry(settings.phones, "corpus", path))
    config = {
        **record_of(settings),
        "class": list(settings.class_),
        "items": None if settings.items is None else list(settings.items),
        "adjust": settings.adjust,
        **about,
    }
    rows = slice(0, len(work.items))
    if shard is not None:
        config["shard"] = shard.config(len(work.items), work.span)
        rows = shard.part(len(work.items), work.span)
    kind = "navai" if shard is None else SHARD
    new = new_record(kind, config=config, seed=settings.seed, device=str(device), parents=parents)
    with (
        executor(settings.workers, settings.scheduler) as run_by,
        create_artifact(path, "Averages of aligned inputs", new, force=settings.force) as writer,
        console.bar("navai", "inputs") as progress,
    ):
        returned = work.spans(writer, rows, run_by, progress)
        if shard is not None:
            inputs = write_shard(writer, layout, returned)
        else:
            written = write_averages(writer, config, layout, (arrays for _, arrays in returned))
    if shard is not None:
        console.note(f"{inputs} inputs; speechscope merge puts the shards together")
        return Written(path, kind, {"inputs": inputs})
    if settings.wav is not None:
        write_sounds(path, settings.wav, examples.corpus, force=settings.force)
    if written.empty:
        console.note(f"nothing was predicted as {', '.join(written.empty)}")
    console.note(f"{written.inputs} inputs, {len(written.classes)} classes")
    facts = {"inputs": written.inputs, "classes": len(written.classes)}
    problem = f"{len(left_out)} parts of {settings.input} were left out"
    return Written(path, kind, facts, listed(left_out, path), problem)


def _examples(
    settings: Navai, device: "torch.device", output: Path, console: Console
) -> "tuple[Examples, list[tuple[Path, str]], Mapping[str, Any], list[str]]":
    """Return what is averaged, the artifacts it comes from, what the record says, and what is lost.

    Raises
    ------
    UsageProblem
        Settings exclude each other, or an artifact is of no use here.
    ArtifactError
        A file is missing, damaged or another.
    """
    from speechscope.corpus.seen import seen_by
    from speechscope.corpus.store import Corpus, positions
    from speechscope.navai.examples import (
        ItemExamples,
        LetterExamples,
        PhoneExamples,
        StoredExamples,
    )
    from speechscope.networks.saved import load_model
    from speechscope.networks.wav2letter import Wav2Letter
    from speechscope.store.lineage import ancestor, record_at

    def items_of(corpus: Corpus) -> "NDArray[np.int64]":
        items, named = corpus.items(settings.split), settings.items
        if named is None:
            return items
        return positions(items, f"the {settings.split} split", list(named))

    if settings.by_phone:
        subject, left_out = looked_into(settings, device, output, console)
        phones = PhoneExamples(subject, items_of(subject.recordings), settings)
        return phones, subject.parents, subject.config, left_out
    if settings.model is None:
        path = settings.checkpoint or Path("model.pt")
        record = record_at(path)
        moved = {"corpus": settings.corpus} if settings.corpus else {}
        if record["kind"] == "relevance":
            if settings.items is not None:
                raise UsageProblem(f"--items: {path} has items of its own; all are averaged")
            settings.refuse(("input", "every"), f"{path} has items of its own")
            stored = StoredExamples(path, seen_by(path, record, moved), device, settings)
            return stored, [(path, "relevance")], {}, []
        if record["kind"] != "model":
            raise UsageProblem(f"{path} is a {record['kind']}; navai takes a model or relevance")
        network = load_model(path).network
        if isinstance(network, Wav2Letter):
            settings.check_model()
            trained = Corpus(ancestor(path, record, "corpus", moved))
            corpus, left_out = seen(settings, settings.input, trained, output, console)
            letters = LetterExamples(network.to(device), corpus, items_of(corpus), settings)
            if corpus is trained:
                return letters, [(path, "model")], {}, left_out
            about = {"looked_at": corpus.path.name}
            return letters, [(corpus.path, "corpus"), (path, "model")], about, left_out
    subject, left_out = looked_into(settings, device, output, console)
    examples = ItemExamples(subject, items_of(subject.corpus), settings)
    return examples, subject.parents, subject.config, left_out


def _work(settings: Navai, examples: "Examples") -> "tuple[Summing, Layout]":
    """Return what sums the items of a task, and the layout of what comes of it."""
    from speechscope.corpus.store import Corpus
    from speechscope.navai.averages import Averaging
    from speechscope.navai.profiles import Profiling
    from speechscope.navai.store import Layout, axes_of

    if settings.mode == "profile":
        profiling = Profiling(examples, settings)
        return profiling, Layout(examples.classes, {}, layers=profiling.layers)
    axes = axes_of(examples)
    phones = None if settings.phones is None else Corpus(settings.phones)
    averaging = Averaging(examples, settings, phones)
    parts = () if averaging.split is None else tuple(averaging.split.names)
    return averaging, Layout(examples.classes, axes, parts)
