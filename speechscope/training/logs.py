"""What epochs gave, written as they end: a CSV, and TensorBoard's events."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechscope.errors import SpeechscopeError
from speechscope.store.staging import need_folder, write_atomically

NAMES = ("layer", "stage", "target")
"""What says which of several trainings a row is of."""


class EpochLog:
    """Writes the history of a training, which grows, after every epoch.

    Parameters
    ----------
    path
        Of a CSV with a row an epoch; None: none.
    board
        A folder for TensorBoard, a figure a column; None: none.

    Attributes
    ----------
    written
        How many rows are.

    Raises
    ------
    SpeechscopeError
        TensorBoard is wanted and not installed, or there is no folder to write in.
    """

    def __init__(self, path: Path | None, board: Path | None) -> None:
        self._path, self.written = path, 0
        if path is not None:
            need_folder(path)
        self._board: Any = None
        if board is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise SpeechscopeError(
                    "--tensorboard needs TensorBoard: pip install 'speechscope[tensorboard]'"
                ) from error
            self._board = SummaryWriter(str(board))

    def __call__(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows that are new; of a training that is gone on with, all."""
        if self._path is not None:
            write_atomically(self._path, lambda path: write_rows(path, history))
        if self._board is not None:
            for row in history[self.written :]:
                where = "/".join(f"{name} {row[name]}" for name in NAMES if name in row)
                for name, value in row.items():
                    if isinstance(value, int | float) and name not in (*NAMES, "epoch"):
                        tag = f"{where}/{name}" if where else name
                        self._board.add_scalar(tag, value, int(row["epoch"]))
            self._board.flush()
        self.written = len(history)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a CSV with the columns of all of them."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
