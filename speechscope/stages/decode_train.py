"""``speechscope decode-train``: decoders that restore the input from a layer's activity."""

from dataclasses import asdict
from typing import Annotated

import typer

from speechscope import recipes
from speechscope.stages import options, output


def command(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="The trained network; - reads its path.")
    ] = "model.pt",
    recipe: options.Recipe = recipes.DEFAULT,
    layer: Annotated[
        list[str] | None,
        options.setting(
            "--layer", "Layers to decode from; unit2 is where two units end.", "decode-train.layer"
        ),
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
    units: Annotated[
        list[str] | None,
        typer.Option(
            "--units",
            help="Decode after so many units (convolution and pooling), in place of --layer.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        options.setting("--encoder", "The encoder's weights.", "decode-train.encoder"),
    ] = None,
    decoder: Annotated[
        str | None,
        options.setting("--decoder", "The decoder's weights.", "decode-train.decoder"),
    ] = None,
    unpool: Annotated[
        str | None,
        options.setting("--unpool", "How pooling is inverted.", "decode-train.unpool"),
    ] = None,
    stack: Annotated[
        str | None,
        options.setting("--stack", "In which order parts are trained.", "decode-train.stack"),
    ] = None,
    relu: Annotated[
        bool | None,
        options.setting("--relu/--no-relu", "ReLUs in the decoder.", "decode-train.relu"),
    ] = None,
    noise: Annotated[
        float | None,
        options.setting(
            "--noise", "Noise on the inputs, of their size.", "decode-train.noise", min=0.0
        ),
    ] = None,
    sparse: Annotated[
        float | None,
        options.setting(
            "--sparse", "Weight of the code's L1 norm.", "decode-train.sparse", min=0.0
        ),
    ] = None,
    contractive: Annotated[
        float | None,
        options.setting(
            "--contractive", "Weight of the code's slope.", "decode-train.contractive", min=0.0
        ),
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
    """Train a decoder for each layer, and the encoder with it where asked.

    By default the network stays as it is, pooling is inverted blindly, and decoders are trained
    stage by stage from the code outwards, then together (Churchman 2015, sec. 6.5). --recipe
    riemens2015 trains autoencoders; each row of Riemens' tables is a combination of --encoder,
    --decoder, --unpool, --stack, --units and --relu.

    Example: speechscope decode-train --encoder random --decoder random --stack weak --units 2
    """
    options.exclusive({"--units": bool(units), "--layer": bool(layer)})
    flags = {
        "layer": ",".join(f"unit{n}" for n in options.split_list(units)) or options.joined(layer),
        "epochs": epochs,
        "together": together,
        "per_class": per_class,
        "batch": batch,
        "lr": lr,
        "encoder": encoder,
        "decoder": decoder,
        "unpool": unpool,
        "stack": stack,
        "relu": relu,
        "noise": noise,
        "sparse": sparse,
        "contractive": contractive,
    }
    chosen = recipes.resolve(recipe, "decode-train", flags)
    source, path = options.input_path(model), options.output_path(destination, "decoder.pt")
    moved = {"corpus": corpus} if corpus else {}

    from speechscope.corpus.store import Corpus
    from speechscope.networks.autoencoders import Scheme, resolve
    from speechscope.networks.saved import decoder_values, load_classifier
    from speechscope.store import checkpoint
    from speechscope.store.lineage import ancestor, entry
    from speechscope.store.record import new_record
    from speechscope.store.staging import staged
    from speechscope.training.decoder_settings import DecoderSettings
    from speechscope.training.decoders import train_decoders
    from speechscope.training.resume import ResumeFile
    from speechscope.training.source import CorpusSource
    from speechscope.work.device import choose
    from speechscope.work.progress import bar

    names = ("encoder", "decoder", "unpool", "relu")
    settings = DecoderSettings(
        **{name: value for name, value in chosen.items() if name not in ("layer", *names)},
        scheme=Scheme(**{name: chosen[name] for name in names}),
        seed=seed,
    )
    where = choose(device)
    trained = load_classifier(source)
    data = Corpus(ancestor(source, trained.checkpoint.record, "corpus", moved))
    layers = [resolve(trained.network, name) for name in chosen["layer"].split(",")]
    record = new_record(
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
        values = {
            **decoder_values(done.autoencoders),
            "history": [asdict(entry_) for entry_ in done.history],
            "scores": done.scores,
            "state": done.state,
        }
        checkpoint.write(partial, record, values)
    unfinished.clear()
    output.note(
        "; ".join(
            f"layer {row['layer']}: error {row['test']:.3g} (silence {row['silence']:.3g})"
            for row in done.scores
        ),
        quiet=quiet,
    )
    output.wrote(path, "decoder", as_json=as_json, facts={"scores": done.scores})
