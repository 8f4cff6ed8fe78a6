"""Every reader on damaged files; `tests/trust/long_run.py fuzz` reads a hundred thousand."""

from pathlib import Path

import pytest
from trust import fuzz


def test_damaged_files_of_every_kind(tmp_path: Path) -> None:
    count = fuzz.many(tmp_path, range(400))
    assert sum(count.values()) == 400
    names = {name for name, *_ in fuzz.OWN}
    # No damage passes a digest; a settings file and a checkpoint's padding have none.
    assert all(count[f"{name} refused"] for name in names)
    assert not count["array.zarr read"] and not count["chunk.zarr read"]


@pytest.mark.heavy
def test_ten_thousand_damaged_files_of_every_kind(tmp_path: Path) -> None:
    assert sum(fuzz.many(tmp_path, range(10_000), first=10**6).values()) == 10_000
