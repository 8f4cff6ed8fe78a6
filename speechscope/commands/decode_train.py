"""``speechscope decode-train``: decoders that restore the input from a layer's activity."""

from dataclasses import asdict
from typing import Annotated

import typer

from speechscope import recipes
from speechscope.commands import options, output


def command(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="The trained network; - reads its path.")
    ] = "model.pt",
    recipe: options.Recipe = recipes.DEFAULT,
    layer: Annotated[
        list[str] | None,
        options.setting("--layer", "Layers to decode from.", "decode-train.layer"),
    ] = None,
    epochs: Annotated[
        int | None,
        options.setting("--epochs", "Epochs of each stage.", "decode-train.epochs", min=0),
    ] = None,
    together: Annotated[
        int | None,
        options.setting(
            "--together", "Epochs of all stages together.", "decode-train.together", min=0
        ),
    ] = None,
    per_class: Annotated[
        int | None,
        options.setting("--per-class", "Items a class.", "decode-train.per_class", min=1),
    ] = None,
    batch: Annotated[
        int | None, options.setting("--batch", "Items a batch.", "decode-train.batch", min=1)
    ] = None,
    lr: Annotated[
        float | None, options.setting("--lr", "AdaGrad's master step size.", "decode-train.lr")
    ] = None,
    init: Annotated[
        str | None, options.setting("--init", "First weights.", "decode-train.init")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    corpus: options.CorpusPath = None,
    destination: options.Output = None,
    force: options.Force = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train a decoder for each layer, the network itself staying as it is.

    Decoders use blind unpooling and learned transposed convolutions, and are trained stage by
    stage from the middle outwards, then together (Churchman 2015, sec. 6.5).

    Example: speechscope decode-train model.pt --layer 1,9 -o decoder.pt
    """
    flags = {
        "layer": options.joined(layer),
        "epochs": epochs,
        "together": together,
        "per_class": per_class,
        "batch": batch,
        "lr": lr,
        "init": init,
    }
    chosen = recipes.resolve(recipe, "decode-train", flags)
    source, path = options.input_path(model), options.output_path(destination, "decoder.pt")
    moved = {"corpus": corpus} if corpus else {}

    from speechscope import checkpoint, provenance
    from speechscope.corpus.store import Corpus
    from speechscope.device import choose
    from speechscope.lineage import ancestor, entry
    from speechscope.networks.saved import decoder_values, load_model
    from speechscope.progress import bar
    from speechscope.staging import staged
    from speechscope.training.decoders import DecoderSettings, scores, train_decoders
    from speechscope.training.resume import ResumeFile
    from speechscope.training.source import CorpusSource

    where = choose(device)
    trained = load_model(source)
    data = Corpus(ancestor(source, trained.checkpoint.record, "corpus", moved))
    layers = [trained.network.resolve(name) for name in chosen["layer"].split(",")]
    settings = DecoderSettings(
        epochs=chosen["epochs"],
        together=chosen["together"],
        per_class=chosen["per_class"],
        test_per_class=chosen["test_per_class"],
        batch=chosen["batch"],
        lr=chosen["lr"],
        lr_together=chosen["lr_together"],
        init=chosen["init"],
        seed=seed,
    )
    record = provenance.new_record(
        "decoder",
        config={"recipe": recipe, **chosen},
        seed=seed,
        device=str(where),
        parents=[entry(source, "model", path)],
    )
    unfinished = ResumeFile(path, record)
    with (
        staged(path, force=force or resume, directory=False) as partial,
        bar("decode-train", quiet=quiet) as progress,
    ):
        done = train_decoders(
            trained.network.to(where),
            CorpusSource(data, ("train", "test"), where),
            layers,
            settings,
            state=unfinished.load(path) if resume else None,
            on_stage=unfinished.save,
            progress=progress,
        )
        rows = scores(done.history)
        values = {
            **decoder_values(done.decoders),
            "history": [asdict(entry_) for entry_ in done.history],
            "scores": rows,
            "state": done.state,
        }
        checkpoint.write(partial, record, values)
    unfinished.clear()
    output.note(
        "; ".join(
            f"layer {row['layer']}: error {row['test']:.3g} (silence {row['silence']:.3g})"
            for row in rows
        ),
        quiet=quiet,
    )
    output.wrote(path, "decoder", as_json=as_json, facts={"scores": rows})
