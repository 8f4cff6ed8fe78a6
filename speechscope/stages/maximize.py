"""``speechscope maximize``: inputs that excite units of a network most."""

from typing import Annotated

import typer

from speechscope import recipes
from speechscope.stages import options, output


def command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="model.pt, or - to read its path.", show_default=False
        ),
    ] = None,
    recipe: options.Recipe = recipes.DEFAULT,
    layer: Annotated[
        str | None, options.setting("--layer", "The layer; last: the classes.", "maximize.layer")
    ] = None,
    unit: Annotated[
        list[str] | None,
        options.setting(
            "--unit",
            "Classes, maps, places (3@10x2), whole maps (3@mean).",
            "maximize.unit",
        ),
    ] = None,
    steps: Annotated[
        int | None, options.setting("--steps", "Steps of Adam.", "maximize.steps", min=0)
    ] = None,
    lr: Annotated[float | None, options.setting("--lr", "Its rate.", "maximize.lr")] = None,
    l1: Annotated[
        float | None, options.setting("--l1", "Weight of ‖x‖₁.", "maximize.l1", min=0.0)
    ] = None,
    l2: Annotated[
        float | None, options.setting("--l2", "Weight of ½‖x‖².", "maximize.l2", min=0.0)
    ] = None,
    tv: Annotated[
        float | None,
        options.setting("--tv", "Weight of the total variation.", "maximize.tv", min=0.0),
    ] = None,
    wav: options.Wav = None,
    foreign: options.Foreign = None,
    weights: options.Weights = None,
    corpus: options.CorpusPath = None,
    destination: options.Output = None,
    force: options.Force = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Climb to the inputs that excite units of a layer, or classes, most.

    Each optimum has the size of what its unit sees (Krug 2018, sec. 3.2).

    Example: speechscope maximize --layer conv2 --unit 0,3,7
    """
    flags = {
        "layer": layer,
        "unit": options.joined(unit),
        "steps": steps,
        "lr": lr,
        "l1": l1,
        "l2": l2,
        "tv": tv,
    }
    chosen = recipes.resolve(recipe, "maximize", flags)
    path = options.output_path(destination, "maximum.zarr")

    from speechscope.errors import UsageProblem
    from speechscope.networks.layers import Network
    from speechscope.networks.subject import subject_of
    from speechscope.relevance.maximize import MaximizeSettings
    from speechscope.relevance.maximum_store import write_maximum
    from speechscope.relevance.sound import write_optima
    from speechscope.relevance.windows import on_its_window, on_whole_inputs, parse_units
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.wav import check_target
    from speechscope.store.writer import create_artifact
    from speechscope.work.device import choose
    from speechscope.work.progress import bar

    given = None if model is None else options.input_path(model)
    subject = subject_of(given, foreign, weights, corpus, choose(device))
    network = subject.network
    if isinstance(network, Network):
        last = len(network.names)
        number = last if chosen["layer"] == "last" else network.resolve(chosen["layer"])
        found = on_its_window(network, number)
        named = number == last
    else:
        example = subject.inputs(subject.corpus.items("test")[:1])
        found = on_whole_inputs(network, example, chosen["layer"])
        named = chosen["layer"] == "last"
    classes = subject.classes if named else ()
    units = parse_units(chosen["unit"].split(","), found.out, classes)
    if wav is not None:
        check_target(wav, force=force)
    amounts = {name: chosen[name] for name in ("steps", "lr", "l1", "l2", "tv")}
    settings = MaximizeSettings(**amounts)
    new = new_record(
        "maximum",
        config={"recipe": recipe, **chosen, "layer": found.name, **subject.config},
        seed=seed,
        device=str(subject.device),
        parents=[entry(*subject.parent, path)],
    )
    with (
        create_artifact(path, "Optimal inputs", new, force=force) as writer,
        bar("maximize", quiet=quiet) as progress,
    ):
        sound = write_maximum(writer, subject, found, units, settings, seed=seed, progress=progress)
        if wav is not None and not sound:
            raise UsageProblem(
                f"--wav: optima of {found.name} for {subject.corpus.features} have no sound"
            )
    if wav is not None:
        write_optima(path, wav, force=force)
    output.note(f"{len(units)} units of {found.name}", quiet=quiet)
    output.wrote(path, "maximum", as_json=as_json, facts={"units": len(units)})
