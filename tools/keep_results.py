"""Keep the scores of artifacts as lines of a CSV in docs/results/, from which docs/results.md is.

    python tools/keep_results.py docs/results/riemens.csv --corpus recorded RESULTS/table4-*.pt

A line is one figure: what it is of, its value, 95 % interval, chance and number of items, and the
command, seed, machine, date and seconds of the run. Scores of an artifact that is named again take
the place of its old ones.
"""

import argparse
import csv
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from speechscope.scores.statistics import scored
from speechscope.stages.score import Score
from speechscope.store.lineage import record_at

COLUMNS = (
    "corpus", "artifact", "seed", "subject", "measure", "value", "low", "high", "chance",
    "ceiling", "n", "command", "machine", "made", "seconds",
)  # fmt: skip
ASIDE = {"artifact", "measure", "value", "low", "high", "chance", "ceiling", "items", "null", "p",
         "verdict", "epoch", "chosen_on"}  # fmt: skip
OF_DECODERS = ("train", "test", "silence", "correlation", "zeroed", "zeroed_correlation", "mangled",
               "mangled_correlation")  # fmt: skip
FIGURES = ("value", "low", "high", "chance", "ceiling")


def machine() -> str:
    """Return the processor's name, and how many of them there are."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = named[0].split(":", 1)[1].strip() if named else name
    return f"{name}, {os.cpu_count()} processors"


def figures(row: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Yield the figures of a row of scores, one a line: a decoder's row holds several.

    What stands beside a measure, as the share of white noise, is a measure ``…, white noise``.
    """
    several = [name for name in OF_DECODERS if name in row]
    subject = "; ".join(
        f"{name}={value}"
        for name, value in row.items()
        if name not in ASIDE and not isinstance(value, float) and value not in (None, "")
    )
    measure = row.get("measure", row.get("score", ""))
    if not several:
        values = {name: row.get(name) for name in FIGURES}
        yield {"subject": subject, "measure": measure, "n": row.get("items"), **values}
    for name, value in row.items():
        if isinstance(value, float) and name not in ASIDE:
            named = name if name in several else f"{measure}, {name}"
            yield {"subject": subject, "measure": named, "value": value}


def lines(artifact: Path, corpus: str, seconds: str) -> Iterator[dict[str, object]]:
    """Yield the lines of an artifact."""
    record = record_at(artifact)
    beside = {
        "corpus": corpus,
        "artifact": artifact.stem,
        "seed": record["seed"],
        "command": " ".join(record["argv"]),
        "made": record["created"],
        "seconds": seconds,
    }
    settings = Score(artifacts=(artifact,))
    for row in scored(record["kind"], artifact, settings):
        for figure in figures(row):
            shown = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in figure.items()}
            yield {**beside, **shown}


def write(path: Path, new: Sequence[Mapping[str, object]]) -> None:
    """Add lines to a CSV, in place of those of the same artifact, corpus and seed."""
    kept: list[Mapping[str, object]] = []
    if path.exists():
        with path.open(newline="") as file:
            kept = list(csv.DictReader(file))
    own = {(line["corpus"], line["artifact"], str(line["seed"])) for line in new}
    kept = [
        line for line in kept if (line["corpus"], line["artifact"], str(line["seed"])) not in own
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        writer.writerows({"machine": machine(), **line} for line in new)


def main() -> None:
    """Add the scores of the artifacts that are named to the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path)
    parser.add_argument("artifacts", type=Path, nargs="+")
    parser.add_argument("--corpus", required=True, help="recorded or synthetic")
    parser.add_argument("--seconds", default="", help="what the run took")
    given = parser.parse_args()
    for artifact in given.artifacts:
        write(given.csv, list(lines(artifact, given.corpus, given.seconds)))


if __name__ == "__main__":
    main()
