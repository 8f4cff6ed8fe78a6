"""``speechscope demo``: something to look at and to listen to, in two minutes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechscope.errors import UsageProblem
from speechscope.settings import Settings, argument
from speechscope.stages.shared import Written
from speechscope.work.progress import Console

Step = tuple[str, str, str, dict[str, Any]]
"""A stage, its argument and that one's value, and its options, of which ``output`` is what is made.
"""
STEPS: tuple[Step, ...] = (
    ("synth", "directory", "timit", {"speakers": 12, "sentences": 6}),
    ("prepare", "folder", "timit", {"output": "corpus.zarr"}),
    (
        "train",
        "corpus",
        "corpus.zarr",
        {"network": "freq", "epochs": 6, "per_class": 40, "output": "model.pt"},
    ),
    (
        "relevance",
        "checkpoint",
        "model.pt",
        {"method": "guided,lrp", "per_class": 1, "output": "relevance.zarr"},
    ),
    (
        "invert",
        "source",
        "model.pt",
        {
            "method": "bp",
            "optimizer": "lbfgs",
            "layer": "1,3,6",
            "items": "0:24",
            "steps": 60,
            "output": "inversion.zarr",
        },
    ),
    (
        "navai",
        "checkpoint",
        "model.pt",
        {"align": "none,max-sensitivity", "least": 1, "output": "navai.zarr"},
    ),
)
"""Small enough for two cores: a minute of computing (measured), of which a quarter is the page."""
PAGE = "report.html"
NEXT = (
    ("what the layers know, beside chance", "score model.pt --layers all"),
    ("what is left of the sounds, beside chance", "score inversion.zarr"),
    ("do layers group speech as phonology does", "cluster --layer input,pool1,pool2,fc1 --any"),
    ("a recording of your own", "listen model.pt --input RECORDING.wav"),
    ("your own corpus in place of this one", "prepare CORPUS -o mine.zarr"),
)
"""What to try, as questions, and the commands."""


@dataclass(frozen=True, kw_only=True)
class Demo(Settings):
    """Make a small corpus, a trained network and a page to look around in and to listen to.

    Every step is a command of its own, which is printed before it runs. What is finished is kept:
    run it again to go on. It ends by saying what to try next.

    Needs Praat's synthesizer: pip install 'speechscope[demo]'.

    Example: speechscope demo && xdg-open speechscope-demo/report.html
    """

    directory: Path = argument(Path("speechscope-demo"), "The folder to make.", metavar="[DIR]")


def run(settings: Demo, console: Console) -> Written:
    """Write the folder, or what of it is missing."""
    from speechscope import stages
    from speechscope.store.wav import MARK, ours

    folder = settings.directory
    if folder.exists() and not ours(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageProblem(f"{folder} was not made by speechscope demo; name another folder")
    folder.mkdir(exist_ok=True)
    (folder / MARK).write_text("a demonstration\n", encoding="utf-8")
    console.note(f"$ cd {folder}")
    page = folder / PAGE
    for stage, argument_name, value, options in STEPS:
        if (folder / options.get("output", value)).exists():
            continue
        console.note(f"$ {_line(stage, value, options)}")
        given = {**options, argument_name: folder / value}
        if "output" in options:
            given["output"] = folder / options["output"]
        page.unlink(missing_ok=True)  # it lacks what is made now
        stages.run(stage, given, console)
    artifacts = [options["output"] for *_, options in STEPS if "output" in options]
    if not page.exists():
        console.note(f"$ speechscope report {' '.join(artifacts)}")
        paths = tuple(folder / name for name in artifacts)
        stages.run("report", {"artifacts": paths, "output": page}, console)
    console.note(f"\nOpen {page}. To go on, in this folder (cd {folder}):")
    for question, command in NEXT:
        console.note(f"  # {question}\n  speechscope {command}")
    facts = {"next": [f"speechscope {command}" for _, command in NEXT]}
    return Written(page, "report", facts)


def _line(stage: str, value: str, options: dict[str, Any]) -> str:
    """Return a step as it is typed."""
    words = [f"--{name.replace('_', '-')} {given}" for name, given in options.items()]
    return " ".join(["speechscope", stage, value, *(w for w in words if "--output" not in w)])
