"""``speechscope invert``: reconstruct inputs from the activity of a layer."""

from pathlib import Path
from typing import Annotated

import typer

from speechscope import recipes
from speechscope.errors import UsageProblem
from speechscope.stages import options, output


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
            "--method",
            "anneal, bp, decode, align, or chains of them such as decode+bp.",
            "invert.method",
        ),
    ] = None,
    l2: Annotated[
        float | None, options.setting("--l2", "Weight λ of λ/2 ‖X‖².", "invert.l2", min=0.0)
    ] = None,
    average: Annotated[
        int | None, options.setting("--average", "Runs to average.", "invert.average", min=1)
    ] = None,
    noise: Annotated[
        float | None,
        options.setting(
            "--noise", "Noise of decode and align in averages.", "invert.noise", min=0.0
        ),
    ] = None,
    steps: Annotated[
        int | None, options.setting("--steps", "Most steps of bp.", "invert.steps", min=0)
    ] = None,
    start: Annotated[
        float | None,
        options.setting("--start", "Deviation of bp's random start.", "invert.start", min=0.0),
    ] = None,
    optimizer: Annotated[
        str | None, options.setting("--optimizer", "How bp descends.", "invert.optimizer")
    ] = None,
    rate: Annotated[
        float | None,
        options.setting("--rate", "Master rate η of bold, adagrad or adam.", "invert.rate"),
    ] = None,
    up: Annotated[
        float | None, options.setting("--up", "The bold driver's growth.", "invert.up", min=1.0)
    ] = None,
    down: Annotated[
        float | None,
        options.setting("--down", "The bold driver's fall.", "invert.down", min=0.0, max=1.0),
    ] = None,
    stop: Annotated[
        float | None,
        options.setting("--stop", "The factor below which it stops.", "invert.stop", min=0.0),
    ] = None,
    proposals: Annotated[
        int | None,
        options.setting("--proposals", "Neighbours anneal tries.", "invert.proposals", min=1),
    ] = None,
    chains: Annotated[
        int | None,
        options.setting("--chains", "Chains of anneal an item.", "invert.chains", min=1),
    ] = None,
    rows: Annotated[
        int | None, options.setting("--rows", "Bands a neighbour changes.", "invert.rows", min=1)
    ] = None,
    share: Annotated[
        float | None,
        options.setting(
            "--share", "Share of their entries that change.", "invert.share", min=0.0, max=1.0
        ),
    ] = None,
    reach: Annotated[
        float | None, options.setting("--reach", "Largest change r.", "invert.reach", min=0.0)
    ] = None,
    temperature: Annotated[
        float | None,
        options.setting(
            "--temperature", "First temperature over the first E.", "invert.temperature", min=0.0
        ),
    ] = None,
    cooling: Annotated[
        float | None,
        options.setting(
            "--cooling", "Last temperature over the first.", "invert.cooling", min=0.0, max=1.0
        ),
    ] = None,
    align_items: Annotated[
        int | None,
        options.setting(
            "--align-items", "Training segments of align.", "invert.align_items", min=1
        ),
    ] = None,
    align_epochs: Annotated[
        int | None,
        options.setting("--align-epochs", "Passes over them.", "invert.align_epochs", min=1),
    ] = None,
    align_lags: Annotated[
        int | None,
        options.setting(
            "--align-lags", "Delay align is free in \\[samples].", "invert.align_lags", min=0
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option("--audio", metavar="FILE", help="A recording instead.", show_default=False),
    ] = None,
    given: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="KIND",
            help="Instead: chirps, noise, tones, music-like, or another corpus.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None, options.setting("--count", "Sounds of a kind.", "invert.count", min=1)
    ] = None,
    items: options.Items = None,
    per_class: Annotated[
        int | None,
        options.setting("--per-class", "Random test items a class.", "invert.per_class", min=1),
    ] = None,
    everything: options.Everything = False,
    wav: options.Wav = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    foreign: options.Foreign = None,
    weights: options.Weights = None,
    corpus: options.CorpusPath = None,
    checkpoint: options.CheckpointPath = None,
    destination: options.Output = None,
    force: options.Force = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    shard: options.Shard = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Reconstruct test items from what a layer makes of them, and turn them back into sound.

    anneal proposes random changes and bp descends, both on ½‖Y* − Y‖² + λ/2‖X‖²; decode runs a
    trained decoder; decode+bp descends from what the decoder gives (Churchman 2015, sec. 6). align
    trains decoders on the training split for the layers asked for, up to a delay of the segment,
    which deep layers no longer know: by mxcorr it is the best from layers 6 to 12.

    Every 256 items what is done is kept beside the output; --resume goes on from there, with the
    same result as without the stop.

    Example: speechscope invert --layer 1,9 --method bp,decode+bp --per-class 2
    """
    options.exclusive(
        {"--items": items is not None, "--per-class": per_class is not None, "--all": everything}
    )
    options.exclusive({"--audio": audio is not None, "--input": given is not None})
    options.exclusive({"CHECKPOINT": model is not None, "--model": foreign is not None})
    if weights is not None and foreign is None:
        raise UsageProblem("--weights goes with --model package.module:factory")
    flags = {
        "layer": options.joined(layer),
        # Other networks have no decoders to start from.
        "method": options.joined(method) or ("bp" if foreign else None),
        "l2": l2,
        "average": average,
        "noise": noise,
        "steps": steps,
        "start": start,
        "optimizer": optimizer,
        "up": up,
        "down": down,
        "stop": stop,
        "proposals": proposals,
        "chains": chains,
        "rows": rows,
        "share": share,
        "reach": reach,
        "temperature": temperature,
        "cooling": cooling,
        "align_items": align_items,
        "align_epochs": align_epochs,
        "align_lags": align_lags,
        "count": count,
        "per_class": per_class,
    }
    chosen = recipes.resolve(recipe, "invert", flags)
    own_rate = {"adagrad": "rate_adagrad", "adam": "rate_adam"}.get(chosen["optimizer"], "rate")
    if rate is not None:
        chosen[own_rate] = rate

    from collections.abc import Mapping

    import torch

    from speechscope.corpus import selection
    from speechscope.corpus.store import Corpus
    from speechscope.inversion import source
    from speechscope.inversion.align import train_aligned
    from speechscope.inversion.build import align_settings, inversion_settings
    from speechscope.inversion.chain import most_steps, parse_method
    from speechscope.inversion.derived import derivation
    from speechscope.inversion.examples import Items, TrainingSegments
    from speechscope.inversion.examples import choose as choose_examples
    from speechscope.inversion.problem import Restorer
    from speechscope.inversion.sound import audible, stft_of
    from speechscope.inversion.stimuli import STIMULI
    from speechscope.inversion.store import Inverter, chunk_items, write_inversion
    from speechscope.inversion.waveforms import write_wavs
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.shards import Shard
    from speechscope.store.wav import check_target
    from speechscope.store.writer import create_artifact
    from speechscope.work.device import choose
    from speechscope.work.executors import executor
    from speechscope.work.progress import bar

    one = None if shard is None else Shard.parse(shard)
    usual = Path("inversion.zarr")
    path = options.output_path(destination, str(usual if one is None else one.path(usual)))
    methods = chosen["method"].split(",")
    used = {part for name in methods for part in parse_method(name)}
    where = choose(device)
    if foreign is not None:
        found = source.of_factory(foreign, weights, corpus, chosen["method"], where)
    else:
        moved = {kind: p for kind, p in (("corpus", corpus), ("model", checkpoint)) if p}
        given_path = options.input_path(model or ("decoder.pt" if "decode" in used else "model.pt"))
        found = source.of_checkpoint(given_path, chosen["method"], moved, where)
    data, network = found.corpus, found.network
    layers = [network.resolve(name) for name in chosen["layer"].split(",")]
    restorers: dict[str, Mapping[int, Restorer]] = {}
    if "decode" in used:
        restorers["decode"] = found.decoders
        missing = [layer for layer in layers if layer not in restorers["decode"]]
        if missing:
            known = ", ".join(map(str, sorted(restorers["decode"])))
            raise UsageProblem(
                f"{found.path} has decoders for layers {known}, not "
                f"{', '.join(map(str, missing))}; train them with decode-train --layer"
            )
    if "align" in used and not (data.features == "real" and data.invertible):
        raise UsageProblem(
            "--method align needs segments as real spectrograms, without z-normalisation; "
            f"{data.path} holds {data.features}"
        )

    ranges = None if items is None else options.split_list(items)

    def items_of(held: Corpus) -> Items:
        return selection.choose(
            held,
            "test",
            ranges=ranges,
            everything=everything,
            count=chosen["per_class"],
            seed=seed,
        )

    examples = choose_examples(data, audio, given, chosen["count"], seed, items_of)
    parents = [entry(found.path, found.kind, path)]
    if given is not None and examples.kind not in STIMULI:
        parents.append(entry(Path(given), "corpus", path))
    if not audible(data):
        if wav is not None:
            raise UsageProblem(f"--wav: {data.features} spectrograms have no waveform")
        output.note(f"{data.features} spectrograms cannot be turned back into sound", quiet=quiet)
    if wav is not None:
        check_target(wav, force=force)
    settings, derived = inversion_settings(chosen, seed), derivation(data)
    count = len(examples.index)
    step = chunk_items(count)
    part = slice(0, count) if one is None else one.part(count, step)
    new = new_record(
        "inversion",
        config={
            "recipe": recipe,
            **chosen,
            "split": "test",
            "input": examples.kind,
            **found.config,
            **({} if one is None else {"shard": one.config(count, step)}),
        },
        seed=seed,
        device=str(where),
        parents=parents,
    )
    with (
        executor(workers, scheduler) as who,
        create_artifact(path, "Reconstructed inputs", new, force=force, resume=resume) as writer,
    ):
        if "align" in used:
            with bar("align", quiet=quiet) as progress:
                restorers["align"] = {
                    **train_aligned(
                        network,
                        layers,
                        TrainingSegments(data, where, chosen["align_items"], seed),
                        stft_of(data),
                        torch.from_numpy(data.mean).to(where),
                        align_settings(chosen, seed),
                        progress,
                        derived=None if derived is None else derived.to(where),
                    )
                }
        with bar("invert", quiet=quiet) as progress:
            work = Inverter(
                data,
                network,
                restorers,
                examples,
                layers,
                methods,
                settings,
                max(most_steps(name, settings) for name in methods),
                seed,
                derived,
            )
            write_inversion(writer, work, step=step, part=part, executor=who, progress=progress)
    held = part.stop - part.start
    if wav is not None:
        write_wavs(path, wav, force=force)
    output.note(f"{held} items, layers {chosen['layer']}, {chosen['method']}", quiet=quiet)
    output.wrote(path, "inversion", as_json=as_json, facts={"items": held})
