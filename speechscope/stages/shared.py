"""What stages share: groups of settings, and what `run` returns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from speechscope.errors import UsageProblem
from speechscope.recipes import DEFAULT, RECIPES
from speechscope.settings import Settings, argument, common, option, setting

if TYPE_CHECKING:
    import torch

    from speechscope.networks.subject import Subject
    from speechscope.scores.statistics import Row
    from speechscope.store.shards import Shard


SMALLEST = 1e-12
"""Below any rate that does something."""
FOREIGN = (".h5", ".hdf5", ".nc", ".npz", ".npy", ".mat", ".csv", ".json", ".wav", ".txt", ".zip")
"""Suffixes of files that no command but export writes."""


@dataclass(frozen=True, kw_only=True)
class FromRecipe(Settings):
    """Stages with values that a recipe sets."""

    recipe: str = common(
        DEFAULT,
        "The paper; by default that of what is read.",
        choices=tuple(RECIPES),
    )

    def reads(self) -> Path | None:
        """Return the artifact that is read, whose recipe is the default; None: there is none."""
        return None


@dataclass(frozen=True, kw_only=True)
class Writing(Settings):
    """Stages that write; `usual` is where, without ``-o``."""

    usual: ClassVar[str] = ""
    output: Path | None = common(None, "Where to write.", flags="--output -o")
    force: bool = common(False, "Replace an existing output.", flags="--force -f")

    def path(self, usual: str = "") -> Path:
        """Return where to write: the path given, or the usual name in the working directory.

        Raises
        ------
        UsageProblem
            The next stage could not read it from a line.
        """
        usual = usual or self.usual
        path = Path(usual) if self.output is None else self.output
        if "\n" in str(path) or "\0" in str(path):
            raise UsageProblem(f"-o {str(path)!r}: a path that is passed on is one line")
        wanted = Path(usual).suffix
        if wanted in (".zarr", ".pt") and path.suffix in {*FOREIGN, ".zarr", ".pt"} - {wanted}:
            raise UsageProblem(
                f"-o {path}: what is written here is {wanted}; export writes other forms"
            )
        return path


@dataclass(frozen=True, kw_only=True)
class Logged(Settings):
    """Stages that train."""

    log: Path | None = option(None, "Write a CSV with a row an epoch, as it ends.", metavar="FILE")
    tensorboard: Path | None = option(None, "Write the same for TensorBoard.", metavar="DIR")


@dataclass(frozen=True, kw_only=True)
class OnDevice(Settings):
    """Stages that run a network."""

    device: str = common(
        "auto", "auto, cpu, cuda or cuda:N.", choices=("auto", "cpu", "cuda"), others=True
    )


@dataclass(frozen=True, kw_only=True)
class Computing(OnDevice):
    """Stages that draw numbers too."""

    seed: int = common(0, "Seed of everything drawn.", low=0)


@dataclass(frozen=True, kw_only=True)
class Spread(Settings):
    """Stages whose work is spread over processes and machines."""

    workers: int = common(1, "Threads or processes to use.", low=1)
    scheduler: str | None = common(
        None,
        "Have the workers of a Dask scheduler do it: its address or file.",
        metavar="ADDRESS",
    )


@dataclass(frozen=True, kw_only=True)
class Sharded(Writing):
    """Stages of which a job may do a part."""

    shard: str | None = common(
        None,
        "Do the I-th of N parts alone; speechscope merge puts them together.",
        metavar="I/N",
    )

    def part(self) -> "Shard | None":
        """Return the part that is asked for.

        Raises
        ------
        UsageProblem
            It is none.
        """
        from speechscope.store.shards import Shard

        return None if self.shard is None else Shard.parse(self.shard)

    def path(self, usual: str = "") -> Path:
        """See `Writing.path`; a shard's usual name says which it is."""
        part = self.part()
        return super().path(usual if part is None else str(part.path(Path(usual or self.usual))))


@dataclass(frozen=True, kw_only=True)
class Moved(Settings):
    """Stages that read an artifact's parents."""

    corpus: Path | None = common(None, "The corpus it came from, if it moved.")
    checkpoint: Path | None = common(None, "The model or decoder it came from, if it moved.")

    def moved(self) -> dict[str, Path]:
        """Return where parents stand now, by kind."""
        places = {"corpus": self.corpus, "model": self.checkpoint, "decoder": self.checkpoint}
        return {kind: path for kind, path in places.items() if path is not None}


@dataclass(frozen=True, kw_only=True)
class Foreign(Settings):
    """Stages that take a network that is not ours."""

    model: str | None = common(
        None,
        "A network that is not ours, with --corpus: a factory, a file, hf:NAME.",
        metavar="PACKAGE.MODULE:FACTORY",
    )
    weights: Path | None = common(None, "Its weights.")
    axes: str | None = common(None, "The order of its inputs: B,C,F,T.", metavar="ORDER")
    scores: str | None = common(
        None, "Which of its outputs, or a layer; :btv is their order.", metavar="NAME|INDEX"
    )

    def check_model(self) -> None:
        """Refuse what goes with ``--model`` alone.

        Raises
        ------
        UsageProblem
            There is no such option.
        """
        for name in () if self.model else ("weights", "axes", "scores"):
            if getattr(self, name) is not None:
                raise UsageProblem(f"--{name} goes with --model package.module:factory")


@dataclass(frozen=True, kw_only=True)
class Looking(FromRecipe, Foreign):
    """Stages that look into a trained network: a model of ours, or with ``--model`` any."""

    checkpoint: Path | None = argument(None, "model.pt, or - to read its path.", metavar="[MODEL]")
    corpus: Path | None = option(None, "The corpus it came from, if it moved.")

    def reads(self) -> Path | None:
        """See `FromRecipe`."""
        if self.model:
            return self.corpus or Path("corpus.zarr")
        return self.checkpoint or Path("model.pt")

    def subject(self, device: "torch.device") -> "Subject":
        """Return the network, on a device, with the corpus it is looked into with.

        Raises
        ------
        UsageProblem, ArtifactError
            See `speechscope.networks.subject.subject_of`.
        """
        from speechscope.networks.subject import subject_of

        self.check_model()
        model = self.model, self.weights
        return subject_of(self.checkpoint, *model, self.corpus, device, self.axes, self.scores)


@dataclass(frozen=True, kw_only=True)
class Propagating(Settings):
    """Stages that propagate relevance: what its rules are given beside their name."""

    epsilon: float = setting(
        1e-6,
        "Stabilizer of LRP.",
        "chosen: small beside any activation; no result rests on it",
        low=0,
    )
    gamma: float = setting(0.25, "γ of its γ rule.", "Montavon et al. 2019, sec. 10.3.2", low=0)
    alpha: float = setting(
        2.0, "α of its αβ rule.", "Bach et al. 2015, sec. Results; beta is alpha - 1", low=1
    )


@dataclass(frozen=True, kw_only=True)
class Sounding(Settings):
    """Stages whose results can be heard."""

    wav: Path | None = option(None, "Write sounds there too.", metavar="DIR")


@dataclass(frozen=True, kw_only=True)
class Reading(Settings):
    """Stages that write what layers hold beside what they are for."""

    activity: tuple[str, ...] = option(
        (), "Write what these layers hold of every item, too; names, numbers, all.",
        metavar="LAYER",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Choosing(Settings):
    """Stages of some items of the test split."""

    items: tuple[str, ...] | None = option(None, "Test items by position: 0:100, 7.")
    all: bool = option(False, "All test items.")


@dataclass(frozen=True, kw_only=True)
class Regressing(Computing):
    """Stages that train inverses."""

    align_items: int = setting(
        28000,
        "Training segments of align, regress and controls.",
        "chosen: as many as in docs/results.md",
        low=1,
    )
    regress_epochs: int = setting(
        20, "Passes of regress over its training segments.", "chosen", low=0
    )


class Result(Protocol):
    """What a stage returns: something to show."""

    def shown(self, form: str) -> str:
        """Return it as a command prints it: ``text``, ``json`` or ``csv``."""


@dataclass(frozen=True)
class Written:
    """An artifact that was written.

    Parameters
    ----------
    path, kind
        Where, and what.
    facts
        What is known of it.
    skipped
        A line for every item that could not be used.
    problem
        What is said of them; "": they are accepted.
    """

    path: Path
    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    skipped: Sequence[str] = ()
    problem: str = ""

    def shown(self, form: str) -> str:
        """See `Result`: the path, or an object with what is known."""
        if form == "json":
            import json

            return json.dumps({"path": str(self.path), "kind": self.kind, **self.facts})
        return str(self.path)


@dataclass(frozen=True)
class Table:
    """Rows to be shown; those that follow each other with other columns are another table.

    As text they follow a sentence an artifact.
    """

    rows: Sequence["Row"]

    def shown(self, form: str) -> str:
        """See `Result`."""
        from speechscope.scores import tables

        if form == "json":
            return tables.as_json(self.rows)
        if form == "csv":
            return tables.as_csv(self.rows)
        groups: list[list[Row]] = []
        for row in self.rows:
            if groups and list(groups[-1][0]) == list(row):
                groups[-1].append(row)
            else:
                groups.append([row])
        said = "".join(f"{sentence}\n" for sentence in tables.sentences(self.rows))
        return "\n".join([*filter(None, [said]), *map(tables.as_text, groups)])


def listed(lines: Iterable[str], where: Path, most: int = 20) -> list[str]:
    """Return the first lines of a long list, and where the rest can be found."""
    every = list(lines)
    if len(every) <= most:
        return every
    return [*every[:most], f"… and {len(every) - most} more, all listed in {where}"]
