"""``speechscope score``: the table of an artifact's scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.registry import SCORES
from speechscope.settings import argument, of_record, option
from speechscope.stages import settings_class
from speechscope.stages.seeing import Seeing, seen
from speechscope.stages.shared import Foreign, Moved, OnDevice, Table
from speechscope.work.progress import SILENT, Console

if TYPE_CHECKING:
    from speechscope.corpus.store import Corpus
    from speechscope.scores.statistics import Row
    from speechscope.store.record import Record

PRESENTATION = ("json", "csv")
LISTENER: Mapping[str, Any] = {
    "epochs": 10,
    "per_class": 150,
    "batch": 64,
    "optimizer": "adam",
    "lr": 0.002,
    "dropout": 0.3,
    "augment": "stretch=0.15,frames=1,bins=1,noise=0.05",
    "seed": 20,
}
"""How the listener beside a corpus is trained (chosen, by its answers to held-out speakers)."""
GOES_WITH = {"model": "relevance", "layers": "models", "seeds": "relevance", "input": "models"}
"""Options that mean something for artifacts of one kind alone."""


@dataclass(frozen=True, kw_only=True)
class Score(Seeing, Moved, Foreign, OnDevice):
    """Print the scores of artifacts as a table.

    Each figure stands beside what chance gives, its ceiling, its 95 % interval and a verdict in
    words; the first line says it in a sentence. A corpus: what of its segments comes back from
    the transform, by frequency bins and by what is kept of the phase. A model: accuracy on the
    test split over the classes and the folded classes, or the letter error rate; with --layers
    what layers tell apart without training: ABX by phone and speaker, selectivity of units, probes
    beside their control, likeness of layers and networks, phonological arithmetic; of a network
    that is not ours the artifact is the corpus, and --model the network. A decoder: its
    error in the units of the spectrogram, beside that of silence. An inversion: what
    reconstructions have of their originals, by method and layer: intensity, duration, spectrum,
    voicing, F0, F1, F2, the phone and the speaker as heard, and the cross-correlations and
    distances of the papers. Relevance: deletion, insertion, sensitivity-n, how much of it lies
    in the phone, at its formants, burst or band, agreement between methods, with networks of
    other seeds and with the same network of random weights. Clusters: precision, recall, F-measure
    and adjusted mutual information by layer, reduction and algorithm, purity in phonological
    features, linear probes, likeness of layers. Averages of aligned inputs: energy at the
    formants of vowels, bursts of plosives, width and strength of patterns, and what alignment
    changes.

    Example: speechscope score inversion.zarr --csv
    """

    artifacts: tuple[Path, ...] = argument(
        ..., "Any artifacts; - reads one path.", metavar="ARTIFACT…"
    )

    by: tuple[str, ...] = option(
        (), "Of models: also of every phone or speaker.", choices=("phone", "speaker")
    )
    layers: tuple[str, ...] = option(
        (), "Of models, or a corpus and --model: what layers know; names, numbers, all.",
        metavar="LAYER",
    )  # fmt: skip
    seeds: tuple[str, ...] = option(
        (), "Of relevance: models of other seeds, whose relevance is held against it.",
        metavar="MODEL",
    )  # fmt: skip
    listener: Path | None = option(
        None,
        "The model that names the phones of reconstructions; by default a small one beside the "
        "corpus, trained once.",
        metavar="MODEL",
    )

    def recorded(self, stage: str, config: Mapping[str, Any]) -> Any:
        """Return the settings that an artifact's record has of the stage that made it."""
        return of_record(settings_class(stage), stage, config)

    def speech(self, trained: "Corpus", model: Path, console: Console = SILENT) -> "Corpus":
        """Return what a model is scored with: its own corpus, or ``--input`` as it takes it."""
        corpus, left_out = seen(self, self.input, trained, model, console)
        if not corpus.labelled:
            raise UsageProblem(f"--input {self.input}: nobody labelled it, and a score needs that")
        for line in left_out:
            console.note(line)
        return corpus


def run(settings: Score, console: Console) -> Table:
    """Return the scores of every artifact."""
    from speechscope.corpus.store import Corpus
    from speechscope.scores.statistics import scored
    from speechscope.store.lineage import ancestor, record_at

    settings.check_model()
    rows: list[Row] = []
    for path in settings.artifacts:
        record = record_at(path)
        kind, made_of = record["kind"], record["config"]
        if made_of.get("model") is not None and made_of.get("weights") == "random weights":
            console.note(f"{path}: {made_of['model']} has random weights")
        if not SCORES.of(kind):
            raise UsageProblem(f"{path} is a {kind}; score takes {', '.join(SCORES.names())}")
        # With these it is the network that is scored, on that corpus.
        looked_into = kind == "corpus" and settings.layers and settings.model is not None
        for name, kinds in () if looked_into else GOES_WITH.items():
            if getattr(settings, name) and kind != kinds.removesuffix("s"):
                raise UsageProblem(f"{path} is a {kind}; --{name} goes with {kinds}")
        if settings.input is not None:
            trained = Corpus(ancestor(path, record, "corpus", settings.moved()))
            settings.speech(trained, path, console)  # what is to be said of it is said once
        listen(settings, path, record, console)
        with console.bar(f"score {path.name}", "parts") as progress:
            rows += scored("model" if looked_into else kind, path, settings, progress)
    return Table(rows)


def listen(settings: Score, path: Path, record: "Record", console: Console) -> None:
    """Train a listener beside the corpus of an inversion, where none is kept yet."""
    if record["kind"] != "inversion":
        return

    from speechscope.corpus.store import Corpus
    from speechscope.scores.listener import hears, kept, train, trainable
    from speechscope.stages.train import Train
    from speechscope.store.lineage import ancestor

    if not hears(record, settings):
        return
    try:
        corpus = Corpus(ancestor(path, record, "corpus", settings.moved()))
        sizes = {name: corpus.config[name] for name in ("samples", "rate")}
        if not trainable(corpus) or kept(corpus.path, {**LISTENER, **sizes}):
            return
        training = Train(corpus=corpus.path, device=settings.device, **LISTENER)
        with console.bar("listener", "items") as progress:
            where, share = train(corpus.path, training, {**LISTENER, **sizes}, progress)
    except (SpeechscopeError, OSError) as error:
        console.note(f"no listener names the phones: {error}")
        return
    console.note(
        f"{where}: a listener, trained once on the training speakers of {corpus.path.name}; of the "
        f"test speakers' phones it names {share:.0%} (mean over classes)"
    )
