"""``speechscope train``: a classifier of phones or speakers, or the letter network."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from speechscope.errors import UsageProblem
from speechscope.registry import NETWORKS
from speechscope.settings import argument, make, option, record_of, setting
from speechscope.stages.shared import Computing, FromRecipe, Writing, Written
from speechscope.work.progress import Console

LETTERS = "wav2letter"
LETTERS_ONLY = ("width", "padding", "schedule")
CLASSES_ONLY = (
    "per_class",
    "test_per_class",
    "momentum",
    "sampling",
    "label_smoothing",
    "augment",
    "l2",
    "dropout",
    "freeze_encoder",
)
FOR_SPEAKERS = {"raw-phone": "raw-speaker"}
"""The network a recipe has in place of its own where speakers are the classes (Muckenhirn 2019,
table 1)."""
PRESENTATION = ("quiet", "verbose", "json")


@dataclass(frozen=True, kw_only=True)
class Train(FromRecipe, Writing, Computing):
    """Train a network to name phones, on classes resampled to equal numbers.

    Segments, frames and windows train a classifier, the recipe naming the network; utterances with
    letters train the letter network of Krug (2018), whose step size may fall (--schedule).

    The model keeps the weights of the best epoch and of the last one. After every epoch the state
    is kept beside the output, and --resume goes on from it with the same result as without the
    stop. Started by torchrun, several processes share the batches and the first one writes.

    With --from model.pt the training goes on from what a network learned of other speech, such as
    that of `synth`; where the classes are others, the last layer is drawn anew.

    Example: speechscope train corpus.zarr --network freq-overlap-padded --epochs 20
    """

    corpus: Path = argument(
        Path("corpus.zarr"), "The prepared corpus; - reads its path.", metavar="[CORPUS]"
    )
    network: str = setting(
        "freq-overlap", "Architecture.", "sec. 4.1, fig. 6", choices=NETWORKS.names
    )
    epochs: int = setting(
        30, "Epochs.", "chosen: the paper gives none; the test accuracy has levelled by then", low=1
    )
    per_class: int = setting(500, "Items a class and epoch.", "sec. 3.3", low=1)
    test_per_class: int = setting(200, "Test items a class.", "sec. 3.3", flags="")
    batch: int = setting(128, "Items a batch.", "sec. 3.3", low=1)
    optimizer: str = setting(
        "adagrad", "How weights are updated.", "sec. 5.2", choices=("adagrad", "sgd", "adam")
    )
    lr: float = setting(0.01, "Step size.", "chosen: no rate is given for AdaGrad (sec. 5.2)")
    momentum: float = setting(
        0.9, "Nesterov momentum of sgd.", "chosen: usual; for sgd only", low=0, high=0.999
    )
    sampling: str = setting(
        "resample",
        "Classes resampled to equal numbers, or plain.",
        "sec. 3.3",
        choices=("resample", "plain"),
    )
    label_smoothing: float = setting(
        0.0,
        "Share of the wanted probability spread over all classes.",
        "chosen: no paper has it",
        low=0,
        high=0.99,
    )
    patience: int = setting(
        0,
        "Stop after so many epochs without a better score (0: never).",
        "chosen: a fixed number of epochs, as no paper stops early",
        low=0,
    )
    precision: str = setting(
        "float32",
        "Of products on a CUDA device.",
        "chosen: every device gives nearly the same",
        choices=("float32", "mixed"),
    )
    compile: bool = setting(
        False,
        "Use torch.compile on a CUDA device.",
        "chosen: compiling takes a minute, and few trainings so long",
        flags="--compile/--no-compile",
    )
    augment: str = setting(
        "none",
        "Vary the inputs: all, or some of warp, bins, stretch, frames, gain, noise, each with "
        "=AMOUNT if wanted.",
        "sec. 8.2 proposes it; the paper does without",
    )
    l2: float = setting(
        0.0,
        "Weight of the L2 penalty.",
        "sec. 5.3: L2 did not improve the test accuracy",
        low=0,
    )
    dropout: float = setting(
        0.5,
        "Share of hidden units left out.",
        "chosen: sec. 2.1.4 names no rate; that of Hinton et al. 2012",
        low=0,
        high=0.99,
    )
    width: float = setting(
        1.0,
        "What the letter network's maps are multiplied by.",
        "Krug 2018, sec. 3.1: 256 and 2048 maps",
        low=0.001,
    )
    padding: float = setting(
        0.1,
        "Most padding of a batch of utterances, as a share of its frames.",
        "chosen: the batches are still of many lengths",
        flags="",
    )
    schedule: str = setting(
        "constant",
        "What becomes of the letter network's step size over the epochs.",
        "chosen: no paper names another",
        choices=("constant", "cosine"),
    )
    from_: Path | None = option(
        None,
        "Begin from the weights of this model.pt, or from the encoder of this decoder.pt.",
        metavar="PATH",
    )
    freeze_encoder: bool = option(False, "Keep the encoder of --from as it is.")
    resume: bool = option(False, "Go on with a stopped or a finished run.")

    def reads(self) -> Path:
        """See `FromRecipe`."""
        return self.corpus


def run(settings: Train, console: Console) -> Written | None:
    """Write ``model.pt``; None: another process of the group does."""
    if has_letters(settings):
        if settings.network != LETTERS:  # krug2018 is the one recipe that has letters
            given = {name: getattr(settings, name) for name in settings.given - {"recipe"}}
            settings = make(Train, "train", given, "krug2018")
        settings.refuse(CLASSES_ONLY, f"train --recipe {settings.recipe}")
        return train_letters(settings, console)
    settings.refuse(LETTERS_ONLY, f"train --recipe {settings.recipe}")
    return train_classifier(settings, console)


def has_letters(settings: Train) -> bool:
    """Say whether letters are to be trained: whether the corpus has them.

    Raises
    ------
    UsageProblem
        The corpus has letters and the network is another, or the other way round; or the training
        is to use several processes.
    """
    from speechscope.store.lineage import record_at

    source = settings.corpus
    letters = bool(record_at(source)["config"].get("labels") == "letter")
    if letters and "network" in settings.given and settings.network != LETTERS:
        raise UsageProblem(
            f"--network {settings.network}: {source} holds utterances with letters; --network "
            f"{LETTERS} takes them"
        )
    if settings.network == LETTERS and not letters:
        raise UsageProblem(
            f"--network {LETTERS} takes utterances with letters, which {source} does not hold; "
            "make them with speechscope prepare --recipe krug2018"
        )
    if letters and settings.optimizer != "adam" and "optimizer" in settings.given:
        raise UsageProblem(f"--optimizer {settings.optimizer}: choose from adam")
    if letters and os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageProblem("--network wav2letter is trained in one process; leave torchrun out")
    return letters


def _config(settings: Train, other: tuple[str, ...]) -> dict[str, Any]:
    """Return what the record says, but for settings of the `other` kind of network."""
    values = {name: value for name, value in record_of(settings).items() if name not in other}
    begin = settings.from_
    return values | {
        "from": None if begin is None else str(begin),
        **({} if "freeze_encoder" in other else {"freeze_encoder": settings.freeze_encoder}),
    }


def train_classifier(settings: Train, console: Console) -> Written | None:
    """Train a classifier and write it."""
    if settings.freeze_encoder and settings.from_ is None:
        raise UsageProblem("--freeze-encoder: name the encoder with --from decoder.pt")

    from speechscope.corpus.store import Corpus
    from speechscope.networks.saved import build, first_weights, model_values
    from speechscope.recipes.augment import augment_amounts
    from speechscope.store import checkpoint
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.staging import staged
    from speechscope.training.acceleration import Acceleration
    from speechscope.training.augment import Augmentation
    from speechscope.training.group import joined
    from speechscope.training.loop import train
    from speechscope.training.optimizers import rule
    from speechscope.training.outcome import TrainSettings
    from speechscope.training.pretrained import begin_from
    from speechscope.training.resume import ResumeFile
    from speechscope.training.source import CorpusSource
    from speechscope.work.device import choose

    amounts = augment_amounts(settings.augment)
    source, path = settings.corpus, settings.path("model.pt")
    device = choose(settings.device)
    acceleration = Acceleration(settings.precision, settings.compile)
    acceleration.check(device)
    data = Corpus(source)
    data.items("train"), data.items("test")  # both are needed: say so before any work
    if "network" not in settings.given and data.config["labels"] == "speaker":
        network = FOR_SPEAKERS.get(settings.network, settings.network)
        settings = replace(settings, network=network)
    net = build(settings.network, data.input_shape, len(data.classes)).to(device)
    own = "dropout" not in settings.given and any(net.dropout.values())
    how = TrainSettings(
        epochs=settings.epochs,
        per_class=settings.per_class,
        test_per_class=settings.test_per_class,
        batch=settings.batch,
        rule=rule(settings.optimizer, settings.lr, settings.momentum),
        l2=settings.l2,
        # A network whose paper names rates is trained with them unless a flag says otherwise.
        dropout=net.dropout if own else settings.dropout,
        seed=settings.seed,
        resampled=settings.sampling == "resample",
        smoothing=settings.label_smoothing,
        patience=settings.patience,
        augment=Augmentation(**amounts),
        acceleration=acceleration,
    )
    parents = [entry(source, "corpus", path)]
    start, begin = None, settings.from_
    if begin is not None:
        given = checkpoint.Checkpoint(begin)
        if settings.freeze_encoder and given.kind == "model":
            raise UsageProblem(f"--freeze-encoder: {begin} is a model, which has no encoder apart")
        start = first_weights(given, data.classes)
        begin_from(net, start)  # whatever does not fit is said before any work
        parents.append(entry(begin, given.kind, path))
    record = new_record(
        "model",
        config=_config(settings, LETTERS_ONLY),
        seed=settings.seed,
        device=str(device),
        parents=parents,
    )
    unfinished = ResumeFile(path, record)

    def on_epoch(now: dict[str, Any]) -> None:
        unfinished.save_meanwhile(now)
        console.detail(_line(now["history"][-1]))

    with joined(device) as group:
        go = partial(
            train,
            net,
            CorpusSource(data, ("train", "dev", "test"), device),
            how,
            start=start,
            freeze=settings.freeze_encoder,
            group=group,
        )
        if group.rank > 0:  # the first process writes
            go(state=unfinished.load(path) if settings.resume else None)
            return None
        with (
            staged(path, force=settings.force or settings.resume, directory=False) as unnamed,
            unfinished,
            console.bar("train") as progress,
        ):
            state = unfinished.load(path) if settings.resume else None
            done = go(state=state, on_epoch=on_epoch, progress=progress)
            values = {
                **model_values(
                    net,
                    settings.network,
                    weights=done.best,
                    classes=data.classes,
                    classes_folded=data.classes_folded,
                    fold=data.fold,
                    mean=data.mean,
                ),
                "history": [asdict(epoch) for epoch in done.history],
                "best_epoch": done.best_epoch,
                "selected_on": done.selected_on,
                "state": done.state,
            }
            checkpoint.write(unnamed, record, values)
    unfinished.clear()
    best, last = done.history[done.best_epoch - 1], done.history[-1]
    console.note(
        f"{_line(asdict(last))}\nbest epoch {done.best_epoch} (chosen on {done.selected_on}): "
        f"{best.balanced_folded:.1%} class-balanced over the folded classes"
    )
    facts = {
        "network": settings.network,
        "best_epoch": done.best_epoch,
        "selected_on": done.selected_on,
        "last": asdict(last),
        "best": asdict(best),
    }
    return Written(path, "model", facts)


def train_letters(settings: Train, console: Console) -> Written:
    """Train the letter network and write it."""
    from speechscope.corpus.letters import LETTERS as ALPHABET
    from speechscope.corpus.store import Corpus
    from speechscope.networks.saved import first_weights, letter_values
    from speechscope.networks.wav2letter import Wav2Letter
    from speechscope.store import checkpoint
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.staging import staged
    from speechscope.training import letters
    from speechscope.training.acceleration import Acceleration
    from speechscope.training.ctc import constant_error
    from speechscope.training.pretrained import begin_from
    from speechscope.training.resume import ResumeFile
    from speechscope.training.utterances import CorpusUtterances, answers
    from speechscope.work.device import choose

    source, path = settings.corpus, settings.path("model.pt")
    device = choose(settings.device)
    acceleration = Acceleration(settings.precision, settings.compile)
    acceleration.check(device)
    data = Corpus(source)
    data.items("train"), data.items("test")  # both are needed: say so before any work
    utterances = CorpusUtterances(data)
    channels, bins = data.mean.shape
    net = Wav2Letter(bins, settings.width, channels=channels).to(device)
    names = ("epochs", "batch", "padding", "lr", "schedule", "patience", "seed")
    how = letters.LetterSettings(
        **{name: getattr(settings, name) for name in names}, acceleration=acceleration
    )
    parents, start, begin = [entry(source, "corpus", path)], None, settings.from_
    if begin is not None:
        given = checkpoint.Checkpoint(begin)
        start = first_weights(given, ALPHABET)
        begin_from(net, start)  # whatever does not fit is said before any work
        parents.append(entry(begin, given.kind, path))
    record = new_record(
        "model",
        config=_config(settings, CLASSES_ONLY),
        seed=settings.seed,
        device=str(device),
        parents=parents,
    )
    unfinished = ResumeFile(path, record)

    def on_epoch(now: dict[str, Any]) -> None:
        unfinished.save_meanwhile(now)
        console.detail(_letter_line(now["history"][-1]))

    with (
        staged(path, force=settings.force or settings.resume, directory=False) as unnamed,
        unfinished,
        console.bar("train") as progress,
    ):
        done = letters.train_letters(
            net,
            utterances,
            how,
            start=start,
            state=unfinished.load(path) if settings.resume else None,
            on_epoch=on_epoch,
            progress=progress,
        )
        net.load_state_dict(done.best)
        found = answers(net.eval(), utterances, "test", settings.batch)
        test = {
            "letter error rate": found.error,
            "of a constant answer": constant_error(found.texts),
        }
        values = {
            **letter_values(net, settings.width, weights=done.best, mean=data.mean),
            "history": [asdict(epoch) for epoch in done.history],
            "best_epoch": done.best_epoch,
            "selected_on": done.selected_on,
            "left_out": list(done.left_out),
            "test": test,
            "state": done.state,
        }
        checkpoint.write(unnamed, record, values)
    unfinished.clear()
    last = asdict(done.history[-1])
    if done.left_out:
        console.note(
            f"{len(done.left_out)} training utterances left out: their text does not fit in "
            "their frames"
        )
    console.note(
        f"{_letter_line(last)}\nbest epoch {done.best_epoch} (chosen on {done.selected_on}): "
        f"letter error rate {found.error:.1%}, of a constant answer "
        f"{test['of a constant answer']:.1%}"
    )
    facts = {
        "network": LETTERS,
        "best_epoch": done.best_epoch,
        "selected_on": done.selected_on,
        "last": last,
        "test": test,
    }
    return Written(path, "model", facts)


def _line(epoch: Mapping[str, float]) -> str:
    return (
        f"epoch {epoch['epoch']}: loss {epoch['loss']:.3f}, test accuracy "
        f"{epoch['accuracy']:.1%} of the classes, {epoch['accuracy_folded']:.1%} folded, "
        f"{epoch['balanced_folded']:.1%} class-balanced ({epoch['seconds']:.1f} s)"
    )


def _letter_line(epoch: Mapping[str, float]) -> str:
    return (
        f"epoch {epoch['epoch']}: loss {epoch['loss']:.3f}, on test {epoch['test_loss']:.3f}, "
        f"letter error rate {epoch['error']:.1%} ({epoch['seconds']:.1f} s)"
    )
