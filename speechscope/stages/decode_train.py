"""``speechscope decode-train``: decoders that restore the input from a layer's activity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from speechscope.errors import UsageProblem
from speechscope.settings import argument, option, record_of, setting
from speechscope.stages.shared import Computing, FromRecipe, Writing, Written
from speechscope.work.progress import Console

NOT_TRIED = "Riemens 2015, sec. 8: proposed, not tried"


@dataclass(frozen=True, kw_only=True)
class DecodeTrain(FromRecipe, Writing, Computing):
    """Train a decoder for each layer, and the encoder with it where asked.

    By default the network stays as it is, pooling is inverted blindly, and decoders are trained
    stage by stage from the code outwards, then together (Churchman 2015, sec. 6.5). --recipe
    riemens2015 trains autoencoders; each row of Riemens' tables is a combination of --encoder,
    --decoder, --unpool, --stack, --units and --relu.

    Example: speechscope decode-train --encoder random --decoder random --stack weak --units 2
    """

    model: Path = argument(
        Path("model.pt"), "The trained network; - reads its path.", metavar="[MODEL]"
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
        0.1, "AdaGrad's master step size.", "chosen: a share of the size of a stage's first weights"
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
    """Write ``decoder.pt``."""
    settings = consistent(settings)
    source, path = settings.model, settings.path("decoder.pt")

    from speechscope.corpus.store import Corpus
    from speechscope.networks.autoencoders import resolve
    from speechscope.networks.saved import decoder_values, load_classifier
    from speechscope.store import checkpoint
    from speechscope.store.lineage import ancestor, entry
    from speechscope.store.record import new_record
    from speechscope.store.staging import staged
    from speechscope.training.decoders import DecoderTraining, measure
    from speechscope.training.resume import ResumeFile
    from speechscope.training.source import CorpusSource
    from speechscope.work.device import choose

    device = choose(settings.device)
    trained = load_classifier(source)
    moved = {} if settings.corpus is None else {"corpus": settings.corpus}
    data = Corpus(ancestor(source, trained.checkpoint.record, "corpus", moved))
    layers = [resolve(trained.network, name) for name in settings.layer]
    record = new_record(
        "decoder",
        config=record_of(settings),
        seed=settings.seed,
        device=str(device),
        parents=[entry(source, "model", path)],
    )
    unfinished = ResumeFile(path, record)
    with (
        staged(path, force=settings.force or settings.resume, directory=False) as partial,
        console.bar("decode-train") as progress,
    ):
        items = CorpusSource(data, ("train", "test"), device)
        training = DecoderTraining(trained.network.to(device), items, layers, settings)
        state = unfinished.load(path) if settings.resume else None
        training.run(state=state, on_epoch=unfinished.save, progress=progress)
        scores = [
            measure(autoencoder, items, settings)
            for _, autoencoder in sorted(training.autoencoders.items())
        ]
        values = {
            **decoder_values(training.autoencoders),
            "history": training.history,
            "scores": scores,
            "state": training.state(),
        }
        checkpoint.write(partial, record, values)
    unfinished.clear()
    console.note(
        "; ".join(
            f"layer {row['layer']}: error {row['test']:.3g} (silence {row['silence']:.3g})"
            for row in scores
        )
    )
    _judge(scores, console)
    return Written(path, "decoder", {"scores": scores})


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
