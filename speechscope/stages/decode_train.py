"""``speechscope decode-train``: decoders that restore the input from a layer's activity."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from speechscope.errors import UsageProblem
from speechscope.settings import argument, option, record_of, setting
from speechscope.stages.shared import SMALLEST, FromRecipe, Logged, Regressing, Writing, Written
from speechscope.work.progress import Bar, Console

if TYPE_CHECKING:
    from speechscope.corpus.store import Corpus
    from speechscope.inversion.regress import Inverse
    from speechscope.networks.layers import Network

EMPTY: Mapping[str, Any] = {"stft": {}, "weights": {}}
OF_DECODERS = (
    "together", "level", "encoder", "decoder", "unpool", "stack", "relu", "sparse", "contractive",
    "units",
)  # fmt: skip
"""Settings of this stage alone that mean nothing to inverses; others may be set for all stages."""
TESTED = 500
"""Test items that inverses are measured with, at most (chosen)."""
NOT_TRIED = "Riemens 2015, sec. 8: proposed, not tried"


@dataclass(frozen=True, kw_only=True)
class DecodeTrain(FromRecipe, Logged, Writing, Regressing):
    """Train a decoder for each layer, and the encoder with it where asked; or an inverse.

    By default the network stays as it is, pooling is inverted blindly, and decoders are trained
    stage by stage from the code outwards, then together (Churchman 2015, sec. 6.5). --recipe
    riemens2015 trains autoencoders; each row of Riemens' tables is a combination of --encoder,
    --decoder, --unpool, --stack, --units and --relu. --method regress trains learned inverses,
    from activity to sound, which invert --method regress reads: inverse.pt.

    Example: speechscope decode-train --encoder random --decoder random --stack weak --units 2
    """

    usual: ClassVar[str] = "decoder.pt; with --method regress inverse.pt"
    model: Path = argument(
        Path("model.pt"), "The trained network; - reads its path.", metavar="[MODEL]"
    )
    method: str = setting(
        "decode",
        "What is trained: decoders of the network's layers, or learned inverses.",
        "Churchman 2015, sec. 6.5",
        choices=("decode", "regress"),
    )
    layer: tuple[str, ...] = setting(
        ("1", "3", "6", "9", "12"),
        "Layers to decode from; unit2 is where two units end.",
        "sec. 7",
    )
    epochs: int = setting(
        20, "Epochs of each stage, at most.", "chosen: most stages have levelled by then", low=0
    )
    together: int = setting(
        60, "Epochs of all stages together, at most.", "chosen: likewise", low=0
    )
    level: float = setting(
        0.005,
        "Gain over 3 epochs below which a stage has levelled and ends; 0: never.",
        "chosen: a share of the error",
        low=0,
        high=1,
    )
    per_class: int = setting(
        50, "Items a class.", "chosen: the encoder is fixed, fewer items do", low=1
    )
    test_per_class: int = setting(
        20, "Test items a class.", "chosen: a mean needs no more", flags=""
    )
    batch: int = setting(128, "Items a batch.", "sec. 3.3", low=1)
    lr: float = setting(
        0.1,
        "AdaGrad's master step size.",
        "chosen: a share of the size of a stage's first weights",
        low=SMALLEST,
    )
    lr_together: float = setting(
        0.02,
        "The same for everything together.",
        "chosen: likewise; fine-tuning takes smaller steps",
        flags="",
    )
    encoder: str = setting(
        "fixed",
        "The encoder's weights.",
        "sec. 6.5.4: only the decoder's weights are updated",
        choices=("fixed", "init", "random", "frozen-random"),
    )
    decoder: str = setting(
        "transpose-init",
        "The decoder's weights.",
        "Riemens 2015, sec. 4.3 (Churchman leaves it open)",
        choices=("random", "transpose-init", "transpose-tied", "frozen-random"),
    )
    unpool: str = setting(
        "blind",
        "How pooling is inverted.",
        "sec. 6.5.2: switches leak information",
        choices=("switch", "blind"),
    )
    stack: str = setting(
        "decoder",
        "In which order parts are trained.",
        "sec. 6.5.5",
        choices=("decoder", "none", "weak", "strong"),
    )
    relu: bool = setting(
        True,
        "ReLUs in the decoder.",
        "Riemens 2015, sec. 4.3 (Churchman leaves it open)",
        flags="--relu/--no-relu",
    )
    noise: float = setting(0.0, "Noise on the inputs, of their size.", NOT_TRIED, low=0)
    sparse: float = setting(0.0, "Weight of the code's L1 norm.", NOT_TRIED, low=0)
    contractive: float = setting(0.0, "Weight of the code's slope.", NOT_TRIED, low=0)
    units: tuple[str, ...] = option(
        (), "Decode after so many units (convolution and pooling), in place of --layer."
    )
    resume: bool = option(False, "Go on with a stopped run.")
    corpus: Path | None = option(None, "The corpus it came from, if it moved.")

    def reads(self) -> Path:
        """See `FromRecipe`."""
        return self.model


def run(settings: DecodeTrain, console: Console) -> Written:
    """Write ``decoder.pt``, or ``inverse.pt``."""
    settings = consistent(settings)
    regress = settings.method == "regress"
    source, path = settings.model, settings.path("inverse.pt" if regress else "decoder.pt")

    from speechscope.corpus.store import Corpus
    from speechscope.networks.saved import load_classifier
    from speechscope.store import checkpoint
    from speechscope.store.lineage import ancestor, entry
    from speechscope.store.record import new_record
    from speechscope.store.staging import staged
    from speechscope.training.logs import EpochLog
    from speechscope.training.resume import ResumeFile
    from speechscope.work.device import choose

    device = choose(settings.device)
    trained = load_classifier(source)
    moved = {} if settings.corpus is None else {"corpus": settings.corpus}
    data = Corpus(ancestor(source, trained.checkpoint.record, "corpus", moved))
    network = trained.network.to(device)
    kind = "inverse" if regress else "decoder"
    record = new_record(
        kind,
        config=record_of(settings),
        seed=settings.seed,
        device=str(device),
        parents=[entry(source, "model", path)],
    )
    unfinished = ResumeFile(path, record)
    log = EpochLog(settings.log, settings.tensorboard)

    def save(now: Mapping[str, Any]) -> None:
        unfinished.save(now)
        history = now.get("history", ())
        for row in history[log.written :]:
            progress.said = f"layer {row['layer']}: error {row['test']:.3g}"
            console.epoch(f"epoch {row['epoch']}, {progress.said} (silence {row['silence']:.3g})")
        log(history)

    with (
        staged(path, force=settings.force or settings.resume, directory=False) as partial,
        console.bar("decode-train", "passes" if regress else "items") as progress,
    ):
        state = unfinished.load(path) if settings.resume else None
        train = _inverses if regress else _decoders
        values = train(network, data, settings, state, save, progress)
        checkpoint.write(partial, record, values)
    unfinished.clear()
    scores = [_told(row) for row in values["scores"]]
    known = "mean" if regress else "silence"
    console.note(
        "; ".join(
            f"layer {row['layer']}: error {row[OWN[kind]]:.3g} ({known} {row[known]:.3g})"
            for row in scores
        )
    )
    if not regress:
        _judge(scores, console)
    return Written(path, kind, {"scores": scores})


OWN = {"decoder": "test", "inverse": "error"}
"""The error of what was trained, in a row of its scores."""
Saved = Callable[[Mapping[str, Any]], None]


def _decoders(
    network: "Network",
    data: "Corpus",
    settings: DecodeTrain,
    state: dict[str, Any] | None,
    save: Saved,
    progress: Bar,
) -> dict[str, Any]:
    """Train decoders; return what ``decoder.pt`` holds."""
    from speechscope.networks.autoencoders import resolve
    from speechscope.networks.saved import decoder_values
    from speechscope.training.decoders import DecoderTraining, measure
    from speechscope.training.source import CorpusSource
    from speechscope.work.device import choose

    layers = [resolve(network, name) for name in settings.layer]
    items = CorpusSource(data, ("train", "test"), choose(settings.device))
    training = DecoderTraining(network, items, layers, settings)
    training.run(state=state, on_epoch=save, progress=progress)
    return {
        **decoder_values(training.autoencoders),
        "history": training.history,
        "scores": [
            measure(one, items, settings) for _, one in sorted(training.autoencoders.items())
        ],
        "state": training.state(),
    }


def _inverses(
    network: "Network",
    data: "Corpus",
    settings: DecodeTrain,
    state: dict[str, Any] | None,
    save: Saved,
    progress: Bar,
) -> dict[str, Any]:
    """Train inverses, those that are not in the state; return what ``inverse.pt`` holds."""
    from speechscope.inversion.analysis import Analysis
    from speechscope.inversion.regress import (
        inverse_values,
        inverses_of,
        measure,
        train_inverses,
    )
    from speechscope.inversion.source import TrainingPool, derivation

    layers = [network.resolve(name) for name in settings.layer]
    device = next(network.parameters()).device
    analysis = Analysis(data, derivation(data)).to(device)
    finished = {n: one.to(device) for n, one in inverses_of(state or EMPTY).items() if n in layers}
    left = [layer for layer in layers if layer not in finished]

    def done(layer: int, inverse: "Inverse") -> None:
        finished[layer] = inverse
        save(inverse_values(finished))

    if left:
        pool = TrainingPool(data, settings.align_items, settings.seed)
        train_inverses(network, left, pool, analysis, settings, progress, done)
    test = TrainingPool(data, TESTED, settings.seed, "test")
    values = inverse_values(finished)
    return {**values, "scores": measure(network, finished, test), "state": values}


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of scores with the mean over items where it holds every one's."""
    plain = {name: value for name, value in row.items() if name not in ("speaker", "items")}
    return {
        name: float(value.mean()) if hasattr(value, "mean") else value
        for name, value in plain.items()
    }


def _judge(scores: Sequence[Mapping[str, float]], console: Console) -> None:
    """Say which decoders are of no use, in one line."""
    useless = [row for row in scores if row["test"] >= row["silence"]]
    if useless:
        names = ", ".join(str(row["layer"]) for row in useless)
        console.note(
            f"layers {names}: the decoders restore test items no better than silence does; what "
            "they give is not what these layers know (invert --method regress learns that)"
        )


def consistent(settings: DecodeTrain) -> DecodeTrain:
    """Return the settings with units as layers.

    Raises
    ------
    UsageProblem
        Settings contradict each other.
    """
    settings.exclusive("units", "layer")
    if settings.method == "regress":
        settings.refuse(OF_DECODERS, "--method regress")
    encoder = settings.encoder
    if encoder in ("init", "random"):
        if settings.stack == "decoder":
            raise UsageProblem(
                f"--stack decoder restores what a kept encoder does: with --encoder {encoder} "
                "choose --stack none, weak or strong"
            )
    elif settings.sparse or settings.contractive:
        raise UsageProblem(
            f"--{'sparse' if settings.sparse else 'contractive'} shapes the code of an encoder "
            f"that is trained, and --encoder {encoder} keeps it: choose --encoder init or random"
        )
    if not settings.units:
        return settings
    return replace(settings, layer=tuple(f"unit{number}" for number in settings.units))
