"""``speechscope train``: a phone classifier."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speechscope import recipes
from speechscope.errors import UsageProblem
from speechscope.stages import options, output, train_letters

if TYPE_CHECKING:
    from speechscope.corpus.store import Corpus
    from speechscope.networks.layers import Network
    from speechscope.training.outcome import TrainResult


def command(
    corpus: Annotated[
        str, typer.Argument(metavar="[CORPUS]", help="The prepared corpus; - reads its path.")
    ] = "corpus.zarr",
    recipe: options.Recipe = recipes.DEFAULT,
    network: Annotated[
        str | None, options.setting("--network", "Architecture.", "train.network")
    ] = None,
    epochs: Annotated[
        int | None, options.setting("--epochs", "Epochs.", "train.epochs", min=1)
    ] = None,
    per_class: Annotated[
        int | None,
        options.setting("--per-class", "Items a class and epoch.", "train.per_class", min=1),
    ] = None,
    batch: Annotated[
        int | None, options.setting("--batch", "Items a batch.", "train.batch", min=1)
    ] = None,
    optimizer: Annotated[
        str | None, options.setting("--optimizer", "How weights are updated.", "train.optimizer")
    ] = None,
    lr: Annotated[float | None, options.setting("--lr", "Step size.", "train.lr")] = None,
    momentum: Annotated[
        float | None,
        options.setting(
            "--momentum", "Nesterov momentum of sgd.", "train.momentum", min=0.0, max=0.999
        ),
    ] = None,
    sampling: Annotated[
        str | None,
        options.setting(
            "--sampling", "Classes resampled to equal numbers, or plain.", "train.sampling"
        ),
    ] = None,
    label_smoothing: Annotated[
        float | None,
        options.setting(
            "--label-smoothing",
            "Share of the wanted probability spread over all classes.",
            "train.label_smoothing",
            min=0.0,
            max=0.99,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        options.setting(
            "--patience",
            "Stop after so many epochs without a better score (0: never).",
            "train.patience",
            min=0,
        ),
    ] = None,
    augment: Annotated[
        str | None,
        options.setting(
            "--augment",
            "Vary the inputs: all, or some of warp, bins, stretch, frames, gain, noise, "
            "each with =AMOUNT if wanted.",
            "train.augment",
        ),
    ] = None,
    l2: Annotated[
        float | None, options.setting("--l2", "Weight of the L2 penalty.", "train.l2", min=0.0)
    ] = None,
    dropout: Annotated[
        float | None,
        options.setting(
            "--dropout", "Share of hidden units left out.", "train.dropout", min=0.0, max=0.99
        ),
    ] = None,
    width: Annotated[
        float | None,
        options.setting(
            "--width",
            "What the letter network's maps are multiplied by.",
            "train.width",
            recipe="krug2018",
            min=0.001,
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        options.setting(
            "--schedule",
            "What becomes of the letter network's step size over the epochs.",
            "train.schedule",
            recipe="krug2018",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        options.setting("--precision", "Of products on a CUDA device.", "train.precision"),
    ] = None,
    compiled: Annotated[
        bool | None,
        options.setting(
            "--compile/--no-compile", "Use torch.compile on a CUDA device.", "train.compile"
        ),
    ] = None,
    begin: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Begin from the weights of this model.pt, or from the encoder of this decoder.pt.",
            metavar="PATH",
        ),
    ] = None,
    freeze_encoder: Annotated[
        bool, typer.Option("--freeze-encoder", help="Keep the encoder of --from as it is.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a stopped or a finished run.")
    ] = False,
    destination: options.Output = None,
    force: options.Force = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Train a network to name phones, on classes resampled to equal numbers.

    Segments, frames and windows train a classifier, --recipe naming the paper and so the network;
    utterances with letters train the letter network of Krug (2018), whose step size may fall
    (--schedule).

    The model keeps the weights of the best epoch and of the last one. After every epoch the state
    is kept beside the output, and --resume goes on from it with the same result as without the
    stop. Started by torchrun, several processes share the batches and the first one writes.

    With --from model.pt the training goes on from what a network learned of other speech, such as
    that of `synth`; where the classes are others, the last layer is drawn anew.

    Example: speechscope train corpus.zarr --network freq-overlap-padded --epochs 20
    """
    flags = {
        "network": network,
        "epochs": epochs,
        "per_class": per_class,
        "batch": batch,
        "optimizer": optimizer,
        "lr": lr,
        "momentum": momentum,
        "sampling": sampling,
        "label_smoothing": label_smoothing,
        "patience": patience,
        "augment": augment,
        "l2": l2,
        "dropout": dropout,
        "width": width,
        "schedule": schedule,
        "precision": precision,
        "compile": compiled,
    }
    source, path = options.input_path(corpus), options.output_path(destination, "model.pt")
    if train_letters.wanted(source, recipe, network):
        train_letters.train_letters(
            source,
            path,
            recipe,
            flags,
            begin=begin,
            resume=resume,
            force=force,
            device=device,
            seed=seed,
            quiet=quiet,
            verbose=verbose,
            as_json=as_json,
        )
        return
    chosen = recipes.resolve(recipe, "train", flags)
    amounts = recipes.augment_amounts(chosen["augment"])
    if freeze_encoder and begin is None:
        raise UsageProblem("--freeze-encoder: name the encoder with --from decoder.pt")

    from speechscope.corpus.store import Corpus
    from speechscope.networks.saved import build, first_weights
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
    from speechscope.work.progress import bar

    where = choose(device)
    acceleration = Acceleration(chosen["precision"], chosen["compile"])
    acceleration.check(where)
    data = Corpus(source)
    data.items("train"), data.items("test")  # both are needed: say so before any work
    if network is None and data.config["labels"] == "speaker":
        chosen["network"] = recipes.FOR_SPEAKERS.get(chosen["network"], chosen["network"])
    net = build(chosen["network"], data.input_shape, len(data.classes)).to(where)
    settings = TrainSettings(
        epochs=chosen["epochs"],
        per_class=chosen["per_class"],
        test_per_class=chosen["test_per_class"],
        batch=chosen["batch"],
        rule=rule(chosen["optimizer"], chosen["lr"], chosen["momentum"]),
        l2=chosen["l2"],
        # A network whose paper names rates is trained with them unless a flag says otherwise.
        dropout=net.dropout if dropout is None and any(net.dropout.values()) else chosen["dropout"],
        seed=seed,
        resampled=chosen["sampling"] == "resample",
        smoothing=chosen["label_smoothing"],
        patience=chosen["patience"],
        augment=Augmentation(**amounts),
        acceleration=acceleration,
    )
    parents = [entry(source, "corpus", path)]
    start = None
    if begin is not None:
        given = checkpoint.Checkpoint(begin)
        if freeze_encoder and given.kind == "model":
            raise UsageProblem(f"--freeze-encoder: {begin} is a model, which has no encoder apart")
        start = first_weights(given, data.classes)
        begin_from(net, start)  # whatever does not fit is said before any work
        parents.append(entry(begin, given.kind, path))
    record = new_record(
        "model",
        config={
            "recipe": recipe,
            **chosen,
            "from": None if begin is None else str(begin),
            "freeze_encoder": freeze_encoder,
        },
        seed=seed,
        device=str(where),
        parents=parents,
    )
    unfinished = ResumeFile(path, record)

    def on_epoch(now: dict[str, object]) -> None:
        unfinished.save_meanwhile(now)
        if verbose:
            output.note(_line(now["history"][-1]))  # type: ignore[index]

    with joined(where) as group:
        run = partial(
            train,
            net,
            CorpusSource(data, ("train", "dev", "test"), where),
            settings,
            start=start,
            freeze=freeze_encoder,
            group=group,
        )
        if group.rank > 0:  # the first process writes
            run(state=unfinished.load(path) if resume else None)
            return
        with (
            staged(path, force=force or resume, directory=False) as unnamed,
            unfinished,
            bar("train", quiet=quiet) as progress,
        ):
            state = unfinished.load(path) if resume else None
            done = run(state=state, on_epoch=on_epoch, progress=progress)
            checkpoint.write(unnamed, record, _values(net, chosen["network"], data, done))
    unfinished.clear()
    best, last = done.history[done.best_epoch - 1], done.history[-1]
    output.note(
        f"{_line(asdict(last))}\nbest epoch {done.best_epoch} (chosen on {done.selected_on}): "
        f"{best.balanced_folded:.1%} class-balanced over the folded classes",
        quiet=quiet,
    )
    facts = {
        "network": chosen["network"],
        "best_epoch": done.best_epoch,
        "selected_on": done.selected_on,
        "last": asdict(last),
        "best": asdict(best),
    }
    output.wrote(path, "model", as_json=as_json, facts=facts)


def _values(
    network: "Network", name: str, data: "Corpus", done: "TrainResult"
) -> dict[str, object]:
    """Return what the checkpoint holds."""
    from speechscope.networks.saved import model_values

    return {
        **model_values(
            network,
            name,
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


def _line(epoch: dict[str, float]) -> str:
    return (
        f"epoch {epoch['epoch']}: loss {epoch['loss']:.3f}, test accuracy "
        f"{epoch['accuracy']:.1%} of the classes, {epoch['accuracy_folded']:.1%} folded, "
        f"{epoch['balanced_folded']:.1%} class-balanced ({epoch['seconds']:.1f} s)"
    )
