"""``speechscope maximize``: inputs that excite units of a network most."""

from dataclasses import dataclass
from typing import ClassVar

from speechscope.errors import UsageProblem
from speechscope.settings import record_of, setting
from speechscope.stages.shared import (
    SMALLEST,
    Computing,
    Looking,
    Sounding,
    Writing,
    Written,
    listed,
)
from speechscope.work.progress import Console


@dataclass(frozen=True, kw_only=True)
class Maximize(Sounding, Looking, Writing, Computing):
    """Climb to the inputs that excite units of a layer, or classes, most.

    Each optimum has the size of what its unit sees (Krug 2018, sec. 3.2).

    Example: speechscope maximize --layer conv2 --unit 0,3,7
    """

    usual: ClassVar[str] = "maximum.zarr"
    layer: str = setting(
        "last",
        "The layer; last: the classes.",
        "Krug 2018, sec. 4.1: outputs, and units of lower layers",
    )
    unit: tuple[str, ...] = setting(
        ("all",),
        "Classes, maps, places (3@10x2), whole maps (3@mean).",
        "chosen: one optimum for every class or map",
    )
    steps: int = setting(250, "Steps of Adam.", "Krug 2018, sec. 3.2", low=0)
    lr: float = setting(0.05, "Its rate.", "Krug 2018, sec. 3.2: Adam", low=SMALLEST)
    l1: float = setting(0.001, "Weight of ‖x‖₁.", "Krug 2018, sec. 3.2", low=0)
    l2: float = setting(0.001, "Weight of ½‖x‖².", "Krug 2018, sec. 3.2", low=0)
    tv: float = setting(
        0.0,
        "Weight of the total variation.",
        "Krug 2018, sec. 2.2 names it and does without",
        low=0,
    )


def run(settings: Maximize, console: Console) -> Written:
    """Write ``maximum.zarr``."""
    from speechscope.relevance.maximize import (
        layer_of_units,
        parse_units,
        write_maximum,
        write_optima,
    )
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.wav import check_target
    from speechscope.store.writer import create_artifact
    from speechscope.work.device import choose

    path = settings.path()
    subject = settings.subject(choose(settings.device))
    for note in subject.notes:
        console.note(note)
    example = subject.inputs(subject.corpus.items("test")[:1]) if settings.model else None
    layer = layer_of_units(subject.network, settings.layer, subject.classes, example)
    units = parse_units(settings.unit, layer.out, layer.classes)
    if settings.wav is not None:
        check_target(settings.wav, force=settings.force)
    new = new_record(
        "maximum",
        config={**record_of(settings), "layer": layer.name, **subject.config},
        seed=settings.seed,
        device=str(subject.device),
        parents=[entry(*subject.parent, path)],
    )
    with (
        create_artifact(path, "Optimal inputs", new, force=settings.force) as writer,
        console.bar("maximize", "steps") as progress,
    ):
        sound, bad = write_maximum(writer, subject, layer, units, settings, progress)
        if settings.wav is not None and not sound:
            raise UsageProblem(
                f"--wav: optima of {layer.name} for {subject.corpus.features} have no sound"
            )
    if settings.wav is not None:
        write_optima(path, settings.wav, force=settings.force)
    console.note(f"{len(units)} units of {layer.name}")
    skipped = [f"unit {name}: its activation is not a number" for name in bad]
    problem = f"{len(bad)} units could not be maximized (exit 4)"
    return Written(path, "maximum", {"units": len(units)}, listed(skipped, path), problem)
