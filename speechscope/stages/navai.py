"""``speechscope navai``: what inputs that a network answers alike have in common."""

from dataclasses import dataclass
from pathlib import Path

from speechscope.errors import UsageProblem
from speechscope.registry import ALIGNMENTS, RULES
from speechscope.settings import argument, option, record_of, setting
from speechscope.stages.shared import Computing, Foreign, FromRecipe, Sharded, Spread, Written
from speechscope.work.progress import Console


@dataclass(frozen=True, kw_only=True)
class Navai(FromRecipe, Foreign, Sharded, Computing, Spread):
    """Average the inputs that are answered alike, moved to where the answer was found.

    Normalized averaging of aligned inputs (Krug 2018, sec. 3.5 and 3.6): by class, less the mean
    over all classes. With --mode profile, activations of every layer in place of inputs.

    Example: speechscope navai --class aa,iy,t --align none,min-sensitivity --wav heard
    """

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
    epsilon: float = setting(
        1e-6,
        "Its stabilizer.",
        "chosen: small beside any activation; no result rests on it",
        low=0,
    )
    gamma: float = setting(0.25, "γ of the γ rule.", "Montavon et al. 2019, sec. 10.3.2", low=0)
    alpha: float = setting(
        2.0, "α of the αβ rule.", "Bach et al. 2015, sec. Results; beta is alpha - 1", low=1
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
    wav: Path | None = option(None, "Write sounds there too.", metavar="DIR")
    corpus: Path | None = option(None, "The corpus it came from, if it moved.")

    def reads(self) -> Path | None:
        """See `FromRecipe`."""
        return self.corpus if self.model else self.checkpoint or Path("model.pt")


def run(settings: Navai, console: Console) -> Written:
    """Write ``navai.zarr``."""
    from speechscope.corpus.store import Corpus
    from speechscope.navai import sound
    from speechscope.navai.averaging import Averaging, NavaiSettings
    from speechscope.navai.gathering import span_items
    from speechscope.navai.merging import KIND, write_averages, write_shard
    from speechscope.navai.opening import opened
    from speechscope.navai.profiles import Profiling
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.wav import check_target
    from speechscope.store.writer import create_artifact
    from speechscope.work.device import choose
    from speechscope.work.local import executor

    profile = settings.mode == "profile"
    apart = ("align", "wav", "by") if profile else ("layer", "adjust")
    settings.refuse(apart, f"--mode {settings.mode}")
    if settings.phones is not None and settings.by != "phone":
        raise UsageProblem("--phones goes with --by phone")
    if settings.shard is not None and settings.wav is not None:
        raise UsageProblem("--wav: a shard holds sums, which have no sound")
    alignments = ("none",) if profile else settings.align
    shard = settings.part()
    path = settings.path("navai.zarr")
    source = opened(
        settings.checkpoint,
        factory=settings.model,
        weights=settings.weights,
        corpus=settings.corpus,
        device=choose(settings.device),
        alignments=alignments,
        rule=settings,
        split=settings.split,
        ranges=None if settings.items is None else list(settings.items),
    )
    examples, data = source.examples, source.examples.corpus
    given = settings.exclude if "exclude" in settings.given else ()
    unknown = [name for name in given if name not in examples.classes]
    if unknown:
        raise UsageProblem(f"--exclude {unknown[0]}: choose from {', '.join(examples.classes)}")
    told = NavaiSettings(
        alignments,
        classes=settings.class_,
        exclude=settings.exclude,
        normalizer=settings.normalizer,
        least=settings.least,
        seed=settings.seed,
    )
    work: Averaging | Profiling
    if profile:
        work = Profiling(examples, told, settings.layer, settings.adjust)
    else:
        said = None if settings.phones is None else Corpus(settings.phones)
        work = Averaging(examples, told, settings.by, said)
    layout = work.layout
    if settings.wav is not None:
        if not sound.audible(data):
            raise UsageProblem(f"--wav: {data.features} spectrograms have no waveform")
        check_target(settings.wav, force=settings.force)
    parents = [entry(*source.parent, path)]
    if settings.phones is not None:
        parents.append(entry(settings.phones, "corpus", path))
    config = {
        **record_of(settings),
        "class": list(settings.class_),
        "items": None if settings.items is None else list(settings.items),
        "adjust": settings.adjust,
        **source.config,
    }
    step = span_items(len(work.items), work.block)
    if shard is not None:
        config["shard"] = shard.config(len(examples.items), step)
    new = new_record(
        "navai" if shard is None else KIND,
        config=config,
        seed=settings.seed,
        device=str(examples.device),
        parents=parents,
    )
    with (
        executor(settings.workers, settings.scheduler) as who,
        create_artifact(path, "Averages of aligned inputs", new, force=settings.force) as writer,
        console.bar("navai") as progress,
    ):
        if shard is not None:
            rows = shard.part(len(examples.items), step)
            inputs = write_shard(writer, work, layout, rows, who, progress)
        else:
            written = write_averages(writer, work, layout, told, who, progress)
    if shard is not None:
        console.note(f"{inputs} inputs; speechscope merge puts the shards together")
        return Written(path, KIND, {"inputs": inputs})
    if settings.wav is not None:
        sound.write_sounds(path, settings.wav, data, force=settings.force)
    if written.empty:
        console.note(f"nothing was predicted as {', '.join(written.empty)}")
    console.note(f"{written.inputs} inputs, {len(written.classes)} classes")
    facts = {"inputs": written.inputs, "classes": len(written.classes)}
    return Written(path, "navai", facts)
