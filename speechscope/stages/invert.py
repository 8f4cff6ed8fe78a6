"""``speechscope invert``: reconstruct inputs from the activity of a layer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from speechscope.errors import UsageProblem
from speechscope.registry import DESCENTS, INVERSION, STIMULI
from speechscope.settings import argument, option, record_of, setting
from speechscope.stages.seeing import everything, seen
from speechscope.stages.shared import (
    Choosing,
    Foreign,
    FromRecipe,
    Moved,
    Regressing,
    Sharded,
    Sounding,
    Spread,
    Written,
    listed,
)
from speechscope.work.progress import Console

if TYPE_CHECKING:
    import torch

    from speechscope.corpus.store import Corpus
    from speechscope.inversion.problem import Restorer
    from speechscope.inversion.source import Examples, Source
    from speechscope.inversion.writing import Inverter

INVERSE = Path("inverse.pt")
RATES = {"bold": 1e-6, "adagrad": 0.02, "adam": 0.01}
"""η of each rule: Churchman 2015, sec. 6.4.2, of the bold driver; chosen, an entry's first step."""


@dataclass(frozen=True, kw_only=True)
class Invert(FromRecipe, Choosing, Sounding, Foreign, Moved, Sharded, Regressing, Spread):
    """Reconstruct test items from what a layer makes of them, and turn them back into sound.

    anneal proposes random changes and bp descends, both on ½‖Y* − Y‖² + λ/2‖X‖²; decode runs a
    trained decoder; decode+bp descends from what the decoder gives (Churchman 2015, sec. 6). align
    trains decoders on the training split for the layers asked for, up to a delay of the segment,
    which deep layers no longer know: by mxcorr it is the best from layers 6 to 12. average,
    shaped-noise, random, same-class, nearest, random-signs and round-trip are controls. METHOD@STEP
    moves the activity first, by what voicing, nasality, frication, place or height of phones, or a
    deviation of intensity, duration, F0, F1 or F2, changes there; @-STEP back, @2STEP further.

    Every 256 items what is done is kept beside the output; --resume goes on from there, with the
    same result as without the stop.

    Example: speechscope invert --layer 1,9 --method bp,decode+bp --per-class 2
    """

    usual: ClassVar[str] = "inversion.zarr"
    source: Path | None = argument(
        None,
        "decoder.pt where the method decodes, inverse.pt of regress, else model.pt; - reads one.",
        metavar="[CHECKPOINT]",
    )
    layer: tuple[str, ...] = setting(
        ("1", "3", "6", "9", "12"), "Layers to invert from.", "Churchman 2015, sec. 7"
    )
    method: tuple[str, ...] = setting(
        ("decode+bp",),
        "Methods; + chains them, as in decode+bp; regress@voicing moves the activity.",
        "Churchman 2015, sec. 8: the best of the paper's methods",
        choices=INVERSION.names,
        others=True,
    )
    l2: float = setting(
        0.3, "Weight λ of λ/2 ‖X‖².", "chosen: of no effect up to there (docs/results.md)", low=0
    )
    average: int = setting(1, "Runs to average.", "Churchman 2015, sec. 7; more: sec. 6.7", low=1)
    noise: float = setting(
        0.1, "Noise of decode and align in averages.", 'chosen: "slight" (sec. 6.7)', low=0
    )
    steps: int = setting(2000, "Most steps of bp.", "chosen", low=0)
    start: float = setting(
        1e-3, "Deviation of bp's random start.", "chosen: it breaks symmetry (sec. 6.7)", low=0
    )
    optimizer: str = setting(
        "bold", "How bp descends.", "Churchman 2015, sec. 6.4.2", choices=DESCENTS.names
    )
    on: str = setting(
        "input",
        "What bp moves: the input, or the sound it is made from.",
        "Churchman 2015, sec. 6.4: the input",
        choices=("input", "waveform"),
    )
    rate: float | None = setting(
        None,
        "Master rate η; by default 1e-6 of bold, 0.02 of adagrad, 0.01 of adam.",
        "Churchman 2015, sec. 6.4.2, of the bold driver; chosen: an entry's first step",
    )
    up: float = setting(1.01, "The bold driver's growth.", "Churchman 2015, sec. 6.4.2", low=1)
    down: float = setting(
        0.9, "The bold driver's fall.", "Churchman 2015, sec. 6.4.2", low=0, high=1
    )
    stop: float = setting(
        0.005, "The factor below which it stops.", "Churchman 2015, sec. 6.4.2", low=0
    )
    proposals: int = setting(
        20000, "Neighbours anneal tries.", "chosen: sec. 8 restricts them, without a number", low=1
    )
    chains: int = setting(1, "Chains of anneal an item.", "Churchman 2015, sec. 6.3: one", low=1)
    rows: int = setting(
        5, "Bands a neighbour changes.", "chosen: 200 Hz; sec. 6.3.1 leaves n open", low=1
    )
    share: float = setting(
        0.5, "Share of their entries that change.", "Churchman 2015, sec. 6.3.1", low=0, high=1
    )
    reach: float = setting(0.05, "Largest change r.", "Churchman 2015, sec. 6.3.1", low=0)
    temperature: float = setting(
        1e-4, "First temperature over the first E.", "chosen: sec. 6.3 asks for a high start", low=0
    )
    cooling: float = setting(
        1e-4,
        "Last temperature over the first.",
        "chosen: sec. 6.3: near 0 at the end",
        low=0,
        high=1,
    )
    align_epochs: int = setting(
        4, "Passes over them.", "chosen: more items and passes still help, at their cost", low=1
    )
    align_batch: int = setting(
        128, "Segments a step of align.", "as in training, Churchman 2015, sec. 3.3", flags=""
    )
    align_hidden: int = setting(
        512, "Hidden units of align.", "chosen on recorded speech", flags=""
    )
    align_rate: float = setting(
        2e-3, "Adam's rate of align.", "chosen on recorded speech: twice Adam's usual", flags=""
    )
    align_dropout: float = setting(0.2, "Share of the hidden units left out.", "chosen", flags="")
    align_lags: int = setting(
        1541, "Delay align is free in [samples].", "chosen: 96 ms, most of a segment", low=0
    )
    samples: int = setting(
        0, "Draws of regress from what the activity leaves open.", "chosen: none", low=0
    )
    regress_steps: int = setting(60, "Steps regress descends on the sound.", "chosen", low=0)
    audio: Path | None = option(None, "The same as --input FILE.", metavar="FILE")
    input: str | None = option(
        None,
        "Instead: sounds of a kind, another corpus, a recording, or a folder of them.",
        metavar="KIND|PATH",
        choices=STIMULI.names,
        others=True,
    )
    count: int = setting(
        48, "Sounds of a kind.", "Churchman 2015, sec. 7: as many as there are classes", low=1
    )
    block: int = setting(
        128, "Items at a time.", "chosen: a step's overhead is a tenth (measured)", low=1
    )
    per_class: int = setting(
        1, "Random test items a class.", "Churchman 2015, sec. 7: one of each class", low=1
    )
    resume: bool = option(False, "Go on with a stopped run.")

    def sequences(self) -> list[tuple[str, ...]]:
        """Return the methods, each as those that follow each other in it.

        Raises
        ------
        UsageProblem
            There is no such method.
        """
        plain = [re.split("[@#]", name)[0] for name in self.method]
        sequences = [tuple(part.strip() for part in name.split("+")) for name in plain]
        for name, sequence in zip(self.method, sequences, strict=True):
            if not all(part in INVERSION for part in sequence):
                known = ", ".join(INVERSION.names())
                raise UsageProblem(f"method {name}: choose from {known}, or chain them with +")
        return sequences

    def moves(self) -> list[str]:
        """Return what each method moves the activity along; "": nothing."""
        return [name.partition("@")[2] for name in self.method]

    def draws(self) -> list[int]:
        """Return which draw each method is of what the activity leaves open; 0: of none."""
        numbers = [name.partition("#")[2] for name in self.method]
        if not all(number.isdecimal() for number in numbers if number):
            raise UsageProblem(f"--method {','.join(self.method)}: the number of a draw follows #")
        return [int(number or 0) for number in numbers]

    def with_controls(self) -> "Invert":
        """Return the settings with what methods that move the activity are held against.

        These are the same method without a move, and with a random one; and add the draws.
        """
        methods: list[str] = []
        for name in self.method:
            plain, at, _ = name.partition("@")
            methods += [plain, name, f"{plain}@random"] if at else [name]
            if not at and "regress" in plain.split("+"):
                methods += [f"{name}#{draw + 1}" for draw in range(self.samples)]
        return replace(self, method=tuple(dict.fromkeys(methods)))

    def uses(self, method: str) -> bool:
        """Say whether a method is part of any that is asked for."""
        return any(method in sequence for sequence in self.sequences())

    def reads(self) -> Path:
        """See `FromRecipe`."""
        if self.model:
            return self.corpus or Path("corpus.zarr")
        if self.source is not None or self.uses("decode"):
            return self.source or Path("decoder.pt")
        trained = self.uses("regress") and INVERSE.exists()
        return INVERSE if trained else Path("model.pt")

    @property
    def step_size(self) -> float | None:
        """η of the rule; None: it has none."""
        return RATES.get(self.optimizer) if self.rate is None else self.rate


def run(settings: Invert, console: Console) -> Written:
    """Write ``inversion.zarr``."""
    from speechscope.corpus.store import Corpus
    from speechscope.inversion import source, writing
    from speechscope.networks.subject import check_shortest
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.writer import create_artifact
    from speechscope.work.device import choose
    from speechscope.work.local import executor

    settings.exclusive("items", "per_class", "all")
    settings.exclusive("audio", "input")
    settings.exclusive("source", "model")
    settings.check_model()
    if settings.model is not None and "method" not in settings.given:
        settings = replace(settings, method=("bp",))  # there are no decoders to start from
    settings = settings.with_controls()
    if settings.samples and not settings.uses("regress"):  # or a variable means relevance's
        console.note("--samples draws from what regress learns: without --method regress, nothing")
    path, shard = settings.path(), settings.part()
    device = choose(settings.device)
    opened = source.open_source(settings, device)
    for note in opened.notes:
        console.note(note)
    layers = [opened.network.resolve(layer) for layer in settings.layer]
    of = settings.audio or settings.input or "the corpus"
    settings, left_out = _with_speech(settings, opened.corpus, path, console)
    if opened.trims and settings.input is not None:
        check_shortest(opened.network, Corpus(Path(settings.input)), device)
    examples = source.examples_of(settings, opened.corpus)
    _check_sounds(settings, opened.corpus, console)
    count = len(examples.index)
    step = min(writing.BLOCK, count)
    part = slice(0, count) if shard is None else shard.part(count, step)
    parents = [entry(opened.path, opened.kind, path)]
    if settings.input is not None and examples.kind not in STIMULI:
        parents.append(entry(Path(settings.input), "corpus", path))
    record = new_record(
        "inversion",
        config={
            **record_of(settings),
            "rate": settings.step_size,
            "split": "test",
            "input": examples.kind,
            **opened.config,
            **({} if shard is None else {"shard": shard.config(count, step)}),
        },
        seed=settings.seed,
        device=str(device),
        parents=parents,
    )
    with (
        executor(settings.workers, settings.scheduler) as workers,
        create_artifact(
            path, "Reconstructed inputs", record, force=settings.force, resume=settings.resume
        ) as writer,
    ):
        work = _inverter(settings, opened, examples, layers, device, console)
        with console.bar("invert", "items") as progress:
            bad = writing.write_inversion(
                writer, work, step=step, part=part, executor=workers, progress=progress
            )
    if settings.wav is not None:
        writing.write_wavs(path, settings.wav, force=settings.force)
    items = part.stop - part.start
    console.note(f"{items} items, layers {','.join(settings.layer)}, {','.join(settings.method)}")
    skipped = [f"item {index}: what a layer makes of it is not a number" for index in bad]
    skipped = [*left_out, *skipped]
    problem = f"{len(skipped)} items or parts of {of} were left out"
    return Written(path, "inversion", {"items": items}, listed(skipped, path), problem)


def _with_speech(
    settings: Invert, trained: "Corpus", path: Path, console: Console
) -> tuple[Invert, list[str]]:
    """Return the settings with recordings prepared as the network was trained.

    One that is cut into segments by their sound alone is taken as it is.
    """
    from speechscope.store.artifact import METADATA

    given = settings.audio or (settings.input and Path(settings.input))
    alone = trained.unit == "segment" and not trained.config.get("duration")
    if not given or not given.exists() or (given.is_file() and alone):
        return settings, []
    left_out: list[str] = []
    if not (given / METADATA).exists():
        corpus, left_out = seen(settings, given, trained, path, console)
        given, settings = corpus.path, replace(settings, all=everything(settings, corpus))
    return replace(settings, input=str(given), audio=None), left_out


def _check_sounds(settings: Invert, corpus: "Corpus", console: Console) -> None:
    from speechscope.inversion.sound import audible
    from speechscope.store.wav import check_target

    if settings.uses("align") and not (corpus.features == "real" and corpus.invertible):
        raise UsageProblem(
            "--method align needs segments as real spectrograms, without z-normalisation; "
            f"{corpus.path} holds {corpus.features}"
        )
    if not audible(corpus):
        if settings.wav is not None:
            raise UsageProblem(f"--wav: {corpus.features} spectrograms have no waveform")
        console.note(f"{corpus.features} spectrograms cannot be turned back into sound")
    if settings.wav is not None:
        check_target(settings.wav, force=settings.force)


def _inverter(
    settings: Invert,
    opened: "Source",
    examples: "Examples",
    layers: list[int],
    device: "torch.device",
    console: Console,
) -> "Inverter":
    """Return what inverts, with the decoders that ``align`` trains."""
    import torch

    from speechscope.inversion.align import train_aligned
    from speechscope.inversion.analysis import Analysis
    from speechscope.inversion.moves import Move, directions
    from speechscope.inversion.regress import train_inverses
    from speechscope.inversion.sound import stft_of
    from speechscope.inversion.source import TrainingPool, derivation, training_segments
    from speechscope.inversion.writing import Inverter

    corpus, network = opened.corpus, opened.network
    derived = derivation(corpus)
    restorers: dict[str, Mapping[int, Restorer]] = {"decode": opened.decoders}
    if settings.uses("align"):
        with console.bar("align", "batches") as progress:
            restorers["align"] = train_aligned(
                network,
                layers,
                training_segments(corpus, settings.align_items, settings.seed),
                stft_of(corpus),
                torch.from_numpy(corpus.mean).to(device),
                settings,
                progress,
                derived=None if derived is None else derived.to(device),
            )
    sounding = settings.uses("regress") or (settings.on == "waveform" and settings.uses("bp"))
    analysis = Analysis(corpus, derived) if sounding else None
    if opened.inverses:
        restorers["regress"] = opened.inverses
    elif analysis is not None and settings.uses("regress"):
        pool = TrainingPool(corpus, settings.align_items, settings.seed)
        with console.bar("regress", "passes") as progress:
            restorers["regress"] = train_inverses(
                network, layers, pool, analysis.to(device), settings, progress
            )
    along = None
    moves = [Move.parse(text) for text in settings.moves() if text]
    if moves:
        pool = TrainingPool(corpus, settings.align_items, settings.seed)
        along = directions(network, layers, pool, corpus.classes)
    made = restorers, derived, analysis, along
    return Inverter(settings, corpus, examples, network, layers, *made, trims=opened.trims)
