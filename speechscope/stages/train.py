"""``speechscope train``: a classifier of phones or speakers, or the letter network."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from speechscope.errors import UsageProblem
from speechscope.registry import NETWORKS
from speechscope.settings import argument, make, option, record_of, setting
from speechscope.stages.shared import SMALLEST, Computing, FromRecipe, Logged, Writing, Written
from speechscope.work.progress import Console

if TYPE_CHECKING:
    from torch import Tensor, device

    from speechscope.corpus.store import Corpus
    from speechscope.store.record import Parent
    from speechscope.training.classifier import ClassifierTraining
    from speechscope.training.group import Group
    from speechscope.training.letters import LetterTraining

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
AMOUNTS = {
    "warp": 0.1,  # vocal tracts differ by about as much
    "bins": 2.0,  # 80 Hz
    "stretch": 0.2,  # speaking rates
    "frames": 1.0,  # the precision of time marks
    "gain": 0.3,  # 3 dB
    "noise": 0.0,  # no amount of it helped
}
"""Amounts of ``--augment all``, and of what is named without one; all chosen, no paper has them."""
PRESENTATION = ("quiet", "verbose", "json")


@dataclass(frozen=True, kw_only=True)
class Train(FromRecipe, Logged, Writing, Computing):
    """Train a network to name phones, on classes resampled to equal numbers.

    Segments, frames and windows train a classifier, the recipe naming the network; utterances with
    letters train the letter network of Krug (2018), whose step size may fall (--schedule).

    A share of the training speakers is held out (--dev), and the model keeps the weights of the
    epoch that is best for them; nothing is chosen on the test split. A corpus with a dev split of
    its own keeps that. With --dev 0 all are trained on and the last epoch is kept, as in the
    papers. After every epoch the state
    is kept beside the output, and --resume goes on from it with the same result as without the
    stop. Started by torchrun, several processes share the batches and the first one writes.

    With --from model.pt the training goes on from what a network learned of other speech, such as
    that of `synth`; where the classes are others, the last layer is drawn anew.

    Example: speechscope train corpus.zarr --network freq-overlap-padded --epochs 20
    """

    usual: ClassVar[str] = "model.pt"
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
    lr: float = setting(
        0.01, "Step size.", "chosen: no rate is given for AdaGrad (sec. 5.2)", low=SMALLEST
    )
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
        "Of products on a CUDA device: 24 bits, 11 (tf32), or 8 (bf16).",
        "chosen: every device gives nearly the same",
        choices=("float32", "tf32", "bf16"),
    )
    compile: bool = setting(
        False,
        "Use torch.compile on a CUDA device.",
        "chosen: compiling takes a minute, and few trainings so long",
        flags="--compile/--no-compile",
    )
    dev: float = setting(
        0.1,
        "Share of the training speakers held out, to keep the best epoch by; 0: the last epoch.",
        "chosen: nothing is chosen on the test split; the papers train on all (--dev 0)",
        low=0,
        high=0.9,
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

    @property
    def amounts(self) -> dict[str, float]:
        """How far ``--augment`` varies inputs; see `speechscope.training.source.draw`.

        Raises
        ------
        UsageProblem
            A name or an amount is none, or a name without an amount has no usual one.
        """
        if self.augment in ("none", "all"):
            return dict(AMOUNTS) if self.augment == "all" else {}
        amounts = {}
        for part in self.augment.split(","):
            name, given, number = part.partition("=")
            if AMOUNTS.get(name) == 0 and not given:
                raise UsageProblem(
                    f"--augment {part}: no amount of it helped; give one ({part}=0.1)"
                )
            try:
                amounts[name] = float(number) if given else AMOUNTS[name]
            except (KeyError, ValueError):
                amounts[name] = -1.0
            if name not in AMOUNTS or not 0 <= amounts[name] < float("inf"):
                raise UsageProblem(
                    f"--augment {part}: choose none, all, or some of {', '.join(AMOUNTS)}, "
                    "with =AMOUNT if wanted"
                )
        return amounts

    def reads(self) -> Path:
        """See `FromRecipe`."""
        return self.corpus


def run(settings: Train, console: Console) -> Written | None:
    """Write ``model.pt``; None: another process of the group does."""
    settings = fitted(settings)

    from speechscope.corpus.store import Corpus
    from speechscope.store import checkpoint
    from speechscope.store.record import new_record
    from speechscope.store.staging import staged
    from speechscope.training.group import check, joined
    from speechscope.training.logs import EpochLog
    from speechscope.training.resume import ResumeFile
    from speechscope.work.device import choose

    path, device = settings.path(), choose(settings.device)
    check(settings, device)
    data = Corpus(settings.corpus)
    data.items("train"), data.items("test")  # both are needed: say so before any work
    parents, start = _beginning(settings, data, path)
    record = new_record(
        "model",
        config=_config(settings),
        seed=settings.seed,
        device=str(device),
        parents=parents,
    )
    unfinished = ResumeFile(path, record)
    log = EpochLog(settings.log, settings.tensorboard)

    def on_epoch(now: dict[str, Any]) -> None:
        unfinished.save_meanwhile(now)
        log(now["history"])
        last = now["history"][-1]
        progress.said = f"loss {last['loss']:.3f}"
        console.epoch(_line(last))

    with joined(device) as group:
        training = _training(settings, data, device, start, group)
        if group.rank > 0:  # the first process writes
            training.run(state=unfinished.load(path) if settings.resume else None)
            return None
        with (
            staged(path, force=settings.force or settings.resume, directory=False) as unnamed,
            unfinished,
            console.bar("train", "items") as progress,
        ):
            state = unfinished.load(path) if settings.resume else None
            training.run(state=state, on_epoch=on_epoch, progress=progress)
            values = _values(settings, data, training)
            checkpoint.write(unnamed, record, values)
    unfinished.clear()
    return Written(path, "model", _told(settings, values, console))


def fitted(settings: Train) -> Train:
    """Return the settings for what the corpus holds: letters, or classes, or speakers.

    Raises
    ------
    UsageProblem
        The corpus has letters and the network is another, or the other way round; a setting means
        nothing for this network; or letters are to be trained by several processes.
    """
    from speechscope.store.lineage import record_at

    source = settings.corpus
    labels = record_at(source)["config"].get("labels")
    if labels != "letter":
        if settings.network == LETTERS:
            raise UsageProblem(
                f"--network {LETTERS} takes utterances with letters, which {source} does not "
                "hold; make them with speechscope prepare --recipe krug2018"
            )
        settings.refuse(LETTERS_ONLY, f"train --recipe {settings.recipe}")
        if settings.freeze_encoder and settings.from_ is None:
            raise UsageProblem("--freeze-encoder: name the encoder with --from decoder.pt")
        own = FOR_SPEAKERS if labels == "speaker" and "network" not in settings.given else {}
        return replace(settings, network=own.get(settings.network, settings.network))
    if settings.network != LETTERS:
        if "network" in settings.given:
            raise UsageProblem(
                f"--network {settings.network}: {source} holds utterances with letters; --network "
                f"{LETTERS} takes them"
            )
        given = {name: getattr(settings, name) for name in settings.given - {"recipe"}}
        settings = make(Train, "train", given, "krug2018")  # the one recipe that has letters
    settings.refuse(CLASSES_ONLY, f"train --recipe {settings.recipe}")
    if settings.optimizer != "adam":
        raise UsageProblem(f"--optimizer {settings.optimizer}: choose from adam")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageProblem(f"--network {LETTERS} is trained in one process; leave torchrun out")
    return settings


def _config(settings: Train) -> dict[str, Any]:
    """Return what the record says: the settings that mean something for the network."""
    begin = settings.from_
    config = record_of(settings) | {
        "from": None if begin is None else str(begin),
        "freeze_encoder": settings.freeze_encoder,
    }
    other = CLASSES_ONLY if settings.network == LETTERS else LETTERS_ONLY
    return {name: value for name, value in config.items() if name not in other}


def _beginning(
    settings: Train, data: "Corpus", path: Path
) -> tuple[list["Parent"], dict[str, "Tensor"] | None]:
    """Return the parents, and the weights that ``--from`` names."""
    from speechscope.corpus.letters import LETTERS as ALPHABET
    from speechscope.networks.saved import first_weights
    from speechscope.store.checkpoint import Checkpoint
    from speechscope.store.lineage import entry

    parents = [entry(settings.corpus, "corpus", path)]
    if settings.from_ is None:
        return parents, None
    given = Checkpoint(settings.from_)
    if settings.freeze_encoder and given.kind == "model":
        raise UsageProblem(
            f"--freeze-encoder: {settings.from_} is a model, which has no encoder apart"
        )
    parents.append(entry(settings.from_, given.kind, path))
    classes = ALPHABET if settings.network == LETTERS else data.classes
    return parents, first_weights(given, classes)


def _training(
    settings: Train,
    data: "Corpus",
    device: "device",
    start: dict[str, "Tensor"] | None,
    group: "Group",
) -> "ClassifierTraining | LetterTraining":
    """Return what is to be trained; whatever does not fit is said before any work."""
    from speechscope.networks.saved import build
    from speechscope.networks.wav2letter import Wav2Letter
    from speechscope.training.classifier import ClassifierTraining
    from speechscope.training.letters import LetterTraining
    from speechscope.training.source import CorpusSource, CorpusUtterances, held_out

    splits = held_out(data, settings.dev, settings.seed)
    if settings.network == LETTERS:
        channels, bins = data.mean.shape
        letters = Wav2Letter(bins, settings.width, channels=channels).to(device)
        utterances = CorpusUtterances(data, assigned=splits)
        return LetterTraining(letters, utterances, settings, start=start)
    network = build(settings.network, data.input_shape, len(data.classes)).to(device)
    source = CorpusSource(data, ("train", "dev", "test"), device, assigned=splits)
    return ClassifierTraining(network, source, settings, start=start, group=group)


def _values(
    settings: Train, data: "Corpus", training: "ClassifierTraining | LetterTraining"
) -> dict[str, Any]:
    """Return what the checkpoint holds."""
    from speechscope.networks.saved import letter_values, model_values
    from speechscope.training.evaluation import constant_error
    from speechscope.training.letters import LetterTraining

    best = training.best["weights"]
    values = {
        "history": training.history,
        "best_epoch": training.best["epoch"],
        "selected_on": training.selected_on,
        "state": training.state(),
    }
    if not isinstance(training, LetterTraining):
        model = model_values(
            training.network,
            settings.network,
            weights=best,
            classes=data.classes,
            classes_folded=data.classes_folded,
            fold=data.fold,
            mean=data.mean,
        )
        return {**model, **values}
    training.network.load_state_dict(best)
    found = training.answers("test")
    test = {"letter error rate": found.error, "of a constant answer": constant_error(found.texts)}
    model = letter_values(training.network, settings.width, weights=best, mean=data.mean)
    return {**model, **values, "left_out": training.left_out, "test": test}


def _told(settings: Train, values: dict[str, Any], console: Console) -> dict[str, Any]:
    """Say how the training went; return what a program is told."""
    best, last = values["history"][values["best_epoch"] - 1], values["history"][-1]
    way = "the last" if values["selected_on"] is None else "chosen on dev"
    chosen = f"epoch {values['best_epoch']} ({way}), on test: "
    shown = "" if console.logs else f"{_line(last)}\n"
    facts = {
        "network": settings.network,
        "best_epoch": values["best_epoch"],
        "selected_on": values["selected_on"],
        "last": last,
    }
    if settings.network != LETTERS:
        console.note(
            f"{shown}{chosen}{best['balanced_folded']:.1%} class-balanced over the folded classes"
        )
        return {**facts, "best": best}
    if values["left_out"]:
        console.note(
            f"{len(values['left_out'])} training utterances left out: their text does not fit in "
            "their frames"
        )
    test = values["test"]
    console.note(
        f"{shown}{chosen}letter error rate {test['letter error rate']:.1%}, of a constant "
        f"answer {test['of a constant answer']:.1%}"
    )
    return {**facts, "test": test}


def _line(epoch: Mapping[str, float]) -> str:
    if "error" in epoch:
        return (
            f"epoch {epoch['epoch']}: loss {epoch['loss']:.3f}, on test {epoch['test_loss']:.3f}, "
            f"letter error rate {epoch['error']:.1%} ({epoch['seconds']:.1f} s)"
        )
    return (
        f"epoch {epoch['epoch']}: loss {epoch['loss']:.3f}, test accuracy "
        f"{epoch['accuracy']:.1%} of the classes, {epoch['accuracy_folded']:.1%} folded, "
        f"{epoch['balanced_folded']:.1%} class-balanced ({epoch['seconds']:.1f} s)"
    )
