"""``speechscope invert``: reconstruct inputs from the activity of a layer."""

from pathlib import Path
from typing import Annotated

import typer

from speechscope import recipes
from speechscope.commands import options, output
from speechscope.errors import UsageProblem


def command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[CHECKPOINT]",
            help="decoder.pt where the method decodes, else model.pt; - reads its path.",
            show_default=False,
        ),
    ] = None,
    recipe: options.Recipe = recipes.DEFAULT,
    layer: Annotated[
        list[str] | None, options.setting("--layer", "Layers to invert from.", "invert.layer")
    ] = None,
    method: Annotated[
        list[str] | None,
        options.setting(
            "--method", "bp, decode, or chains of them such as decode+bp.", "invert.method"
        ),
    ] = None,
    steps: Annotated[
        int | None, options.setting("--steps", "Most steps of bp.", "invert.steps", min=0)
    ] = None,
    l2: Annotated[
        float | None, options.setting("--l2", "Weight λ of λ/2 ‖X‖².", "invert.l2", min=0.0)
    ] = None,
    rate: Annotated[
        float | None, options.setting("--rate", "Master learning rate η of bp.", "invert.rate")
    ] = None,
    start: Annotated[
        float | None,
        options.setting("--start", "Deviation of bp's random start.", "invert.start", min=0.0),
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option("--items", help="Test items by position: 0:100, 7.", show_default=False),
    ] = None,
    per_class: Annotated[
        int | None,
        options.setting("--per-class", "Random test items a class.", "invert.per_class", min=1),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All test items.")] = False,
    wav: Annotated[
        Path | None,
        typer.Option("--wav", metavar="DIR", help="Write waveforms there too.", show_default=False),
    ] = None,
    corpus: options.CorpusPath = None,
    checkpoint: options.CheckpointPath = None,
    destination: options.Output = None,
    force: options.Force = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Reconstruct test items from what a layer makes of them, and turn them back into sound.

    bp descends from a random start on ½‖Y* − Y‖² + λ/2‖X‖²; decode runs a trained decoder;
    decode+bp descends from what the decoder gives (Churchman 2015, sec. 6).

    Example: speechscope invert --layer 1,9 --method bp,decode+bp --per-class 2
    """
    if sum((items is not None, per_class is not None, everything)) > 1:
        raise UsageProblem("--items, --per-class and --all exclude each other")
    flags = {
        "layer": options.joined(layer),
        "method": options.joined(method),
        "steps": steps,
        "l2": l2,
        "rate": rate,
        "start": start,
        "per_class": per_class,
    }
    chosen = recipes.resolve(recipe, "invert", flags)
    path = options.output_path(destination, "inversion.zarr")

    from speechscope import artifact_writer, provenance
    from speechscope.corpus import selection
    from speechscope.corpus.store import Corpus
    from speechscope.device import choose
    from speechscope.inversion.bold_driver import BoldDriverSettings
    from speechscope.inversion.bp import BpSettings
    from speechscope.inversion.chain import InversionSettings, most_steps, parse_method
    from speechscope.inversion.store import write_inversion
    from speechscope.lineage import ancestor, entry, record_at
    from speechscope.networks.saved import load_decoders, load_model
    from speechscope.progress import bar
    from speechscope.wav import check_target, write_wavs

    methods = chosen["method"].split(",")
    decodes = any("decode" in parse_method(name) for name in methods)
    source = options.input_path(model or ("decoder.pt" if decodes else "model.pt"))
    record = record_at(source)
    if decodes and record["kind"] != "decoder":
        raise UsageProblem(
            f"{source} is a {record['kind']}; --method {chosen['method']} needs a decoder "
            "(speechscope decode-train)"
        )
    moved = {kind: p for kind, p in (("corpus", corpus), ("model", checkpoint)) if p}
    model_path = ancestor(source, record, "model", moved)
    trained = load_model(model_path)
    data = Corpus(ancestor(model_path, trained.checkpoint.record, "corpus", moved))
    network = trained.network.to(choose(device))
    layers = [network.resolve(name) for name in chosen["layer"].split(",")]
    decoders = load_decoders(source, network) if decodes else {}
    missing = [layer for layer in layers if decodes and layer not in decoders]
    if missing:
        raise UsageProblem(
            f"{source} has decoders for layers {', '.join(map(str, sorted(decoders)))}, "
            f"not {', '.join(map(str, missing))}; train them with decode-train --layer"
        )
    if everything:
        chosen_items = data.items("test")
    elif items is not None:
        chosen_items = selection.positions(data, "test", options.split_list(items))
    else:
        chosen_items = selection.per_class(data, "test", chosen["per_class"], seed)
    if wav is not None:
        if not data.invertible:
            raise UsageProblem(f"--wav: {data.features} spectrograms have no waveform")
        check_target(wav, force=force)
    settings = InversionSettings(
        l2=chosen["l2"],
        bp=BpSettings(
            steps=chosen["steps"],
            start=chosen["start"],
            driver=BoldDriverSettings(
                rate=chosen["rate"], up=chosen["up"], down=chosen["down"], stop=chosen["stop"]
            ),
        ),
    )
    if not data.invertible:
        output.note(f"{data.features} spectrograms cannot be turned back into sound", quiet=quiet)
    new = provenance.new_record(
        "inversion",
        config={"recipe": recipe, **chosen, "split": "test"},
        seed=seed,
        device=str(next(network.parameters()).device),
        parents=[entry(source, record["kind"], path)],
    )
    with (
        artifact_writer.create(path, "Reconstructed inputs", new, force=force) as writer,
        bar("invert", quiet=quiet) as progress,
    ):
        write_inversion(
            writer,
            data,
            network,
            decoders,
            items=chosen_items,
            layers=layers,
            methods=methods,
            settings=settings,
            max_steps=max(most_steps(name, settings) for name in methods),
            seed=seed,
            progress=progress,
        )
    if wav is not None:
        write_wavs(path, wav, force=force)
    output.note(
        f"{len(chosen_items)} items, layers {chosen['layer']}, {chosen['method']}", quiet=quiet
    )
    output.wrote(path, "inversion", as_json=as_json, facts={"items": len(chosen_items)})
