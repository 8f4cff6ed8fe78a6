"""``speechscope export``: an artifact for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from speechscope.errors import UsageProblem
from speechscope.settings import argument, option
from speechscope.stages.shared import Moved, Writing, Written
from speechscope.work.progress import Console

if TYPE_CHECKING:
    from speechscope.store.record import Record

SINGLE = ("npz", "mat")
"""Forms that are one file; the others are a folder of files."""


@dataclass(frozen=True, kw_only=True)
class Export(Moved, Writing):
    """Write an artifact as files that R, MATLAB, Praat and others read.

    csv: a folder with a table for the arrays of each set of dimensions, one observation a row,
    names in place of numbers, and columns.csv with the units; of a checkpoint, the epochs of its
    training. npz and mat: every array, and under "about" its dimensions, units and names. textgrid:
    of a corpus the labels of every recording, of relevance the answers along it. wav: every
    waveform, with a name that says item, layer and method.

    Example: speechscope export inversion.zarr --to csv
    """

    usual: ClassVar[str] = (
        "the name of the artifact with the form, such as inversion.npz or inversion-csv"
    )
    artifact: Path = argument(..., "Any artifact, or - to read its path.", metavar="ARTIFACT")

    to: str = option(..., "The form.", choices=("csv", "npz", "mat", "textgrid", "wav"))
    array: tuple[str, ...] = option((), "These arrays alone; any size.", metavar="NAME")


def run(settings: Export, console: Console) -> Written:
    """Write the file or the folder."""
    from speechscope.store.lineage import is_checkpoint, record_at

    source, to = settings.artifact, settings.to
    record = record_at(source)
    if settings.array and to in ("textgrid", "wav"):
        raise UsageProblem(f"--array has no meaning for --to {to}")
    path = settings.path(f"{source.stem}.{to}" if to in SINGLE else f"{source.stem}-{to}")
    if to in ("textgrid", "wav"):
        written = _speech(settings, record, path)
        return Written(path, to, {"files": written})
    if is_checkpoint(source):
        return _checkpoint(settings, path)
    return _arrays(settings, path, console)


def _arrays(settings: Export, path: Path, console: Console) -> Written:
    from speechscope.store import export
    from speechscope.store.artifact import Artifact
    from speechscope.store.staging import staged
    from speechscope.store.wav import marked

    artifact, to = Artifact(settings.artifact), settings.to
    most = export.MOST if to == "csv" else None
    names, large = export.chosen(artifact, settings.array, most)
    if to in SINGLE:
        write = export.write_npz if to == "npz" else export.write_mat
        with staged(path, force=settings.force, directory=False) as partial:
            write(artifact, partial, names)
    else:
        with marked(path, artifact.path.name, force=settings.force) as partial:
            export.write_tables(artifact, partial, names)
    if large:
        console.note(
            f"left out, for they have more than {export.MOST:,} values: {', '.join(large)} "
            "(--array takes them, --to npz takes all)"
        )
    return Written(path, to, {"arrays": names, "left_out": large})


def _checkpoint(settings: Export, path: Path) -> Written:
    """Write the tensors of a checkpoint, or as a table the epochs of its training."""
    import numpy as np

    from speechscope.stages.info import tensors
    from speechscope.store.checkpoint import Checkpoint
    from speechscope.store.staging import staged
    from speechscope.store.wav import marked
    from speechscope.training.logs import write_rows

    values: Any = Checkpoint(settings.artifact).values
    history = values.get("history") or []
    if settings.to == "csv":
        with marked(path, settings.artifact.name, force=settings.force) as partial:
            write_rows(partial / "epoch.csv", history)
        return Written(path, "csv", {"arrays": ["epoch"], "left_out": []})
    arrays = {
        name: value.float().numpy() if value.is_floating_point() else value.numpy()
        for name, value in tensors(values)
        if hasattr(value, "is_floating_point")
    }
    chosen = {name: arrays[name] for name in settings.array or arrays if name in arrays}
    if missing := [name for name in settings.array if name not in arrays]:
        raise UsageProblem(f"--array {missing[0]}: {settings.artifact} has {', '.join(arrays)}")
    with staged(path, force=settings.force, directory=False) as partial, partial.open("wb") as file:
        if settings.to == "npz":
            np.savez_compressed(file, **chosen)
        else:
            from scipy.io import savemat

            from speechscope.store.export import identifier

            named = {identifier(name): value for name, value in chosen.items()}
            savemat(file, named, long_field_names=True)
    return Written(path, settings.to, {"arrays": list(chosen), "left_out": []})


def _speech(settings: Export, record: "Record", folder: Path) -> int:
    """Write sounds or TextGrids; return their number."""
    from speechscope.corpus import export
    from speechscope.corpus.store import Corpus
    from speechscope.store.artifact import Artifact
    from speechscope.store.lineage import ancestor

    path, kind, force = settings.artifact, record["kind"], settings.force

    def corpus() -> Corpus:
        return Corpus(ancestor(path, record, "corpus", settings.moved()))

    if settings.to == "textgrid":
        if kind == "corpus":
            return export.write_textgrids(corpus(), folder, force=force)
        if kind == "relevance":
            from speechscope.relevance.timeline import write_recordings

            return write_recordings(path, folder, corpus(), force=force)
        raise UsageProblem(f"{path} ({kind}): --to textgrid takes a corpus or relevance")
    if kind == "corpus":
        return export.write_sounds(corpus(), folder, force=force)
    no_sound = UsageProblem(f"{path} ({kind}) holds no sound")
    if kind in ("inversion", "maximum") and "waveform" not in Artifact(path):
        raise no_sound
    if kind == "inversion":
        from speechscope.inversion.writing import write_wavs

        return write_wavs(path, folder, force=force)
    if kind == "maximum":
        from speechscope.relevance.maximize import write_optima

        return write_optima(path, folder, force=force)
    if kind == "relevance":
        from speechscope.relevance.store import write_sounds

        return write_sounds(path, folder, corpus(), force=force)
    if kind == "navai":
        from speechscope.navai.sound import write_sounds as write_averages

        return write_averages(path, folder, corpus(), force=force)
    raise no_sound
