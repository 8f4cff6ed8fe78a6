"""The state of an unfinished training, kept beside the output it is to become.

``model.pt`` being trained keeps its state in ``.model.pt.resume``, replaced after every epoch,
while the next one goes on. A run that was killed leaves it there; ``--resume`` goes on from it, a
run without starts over.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from speechscope.errors import ArtifactError
from speechscope.store import checkpoint
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.record import Record
from speechscope.store.staging import write_atomically

# Settings that may differ between a run and its continuation: they say how far to go, not where.
FREE = frozenset({"epochs", "together"})


class ResumeFile:
    """The state file of one output; as a context it ends when what was saved is written.

    Parameters
    ----------
    output
        The checkpoint being made.
    record
        Its record; a state made with other settings or from another parent is refused.
    """

    def __init__(self, output: Path, record: Record) -> None:
        self.path = output.with_name(f".{output.name}.resume")
        self._record = record
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="resume")
        self._writing: Future[None] | None = None

    def __enter__(self) -> "ResumeFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
        if value is None:
            self.settle()

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state by that after another epoch."""
        write_atomically(
            self.path, lambda path: checkpoint.write(path, self._record, {"state": dict(state)})
        )

    def save_meanwhile(self, state: Mapping[str, Any]) -> None:
        """Do what `save` does in a thread, once the state before is written.

        Parameters
        ----------
        state
            Of copies, which nobody changes.

        Raises
        ------
        OSError
            The state before could not be written.
        """
        self.settle()
        self._writing = self._pool.submit(self.save, state)

    def settle(self) -> None:
        """Wait until the state is written; raise what kept it from being."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def load(self, finished: Path) -> dict[str, Any] | None:
        """Return the state to go on from: an interrupted run's, or that inside `finished`.

        None where there is neither.

        Raises
        ------
        ArtifactError
            The state is damaged, or was made with other settings or from another parent.
        """
        for path in (self.path, finished):
            if not path.exists():
                continue
            found = Checkpoint(path)
            self._compare(path, found.record)
            state: dict[str, Any] = found.values["state"]
            return state
        return None

    def clear(self) -> None:
        """Remove the state: the output is complete."""
        self.settle()
        self.path.unlink(missing_ok=True)

    def _compare(self, path: Path, found: Record) -> None:
        mine = self._record
        if [p["digest"] for p in found["parents"]] != [p["digest"] for p in mine["parents"]]:
            raise ArtifactError(f"{path} was trained from another artifact; run without --resume")
        for name, value in mine["config"].items():
            if name not in FREE and found["config"].get(name) != value:
                raise ArtifactError(
                    f"{path} was trained with {name} {found['config'].get(name)}, now {value}; "
                    "give the same settings, or run without --resume"
                )
        if found["seed"] != mine["seed"]:
            raise ArtifactError(f"{path} was trained with --seed {found['seed']}")
