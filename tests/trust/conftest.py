"""One server and one folder of artifacts for all attempts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from trust import stages
from trust.server import ForkServer


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    with ForkServer() as running:
        yield running


@pytest.fixture(scope="session")
def laid(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus folder and one artifact of each kind; not to be changed."""
    return stages.lay_out(server, tmp_path_factory.mktemp("laid"))


@pytest.fixture
def work(laid: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return stages.copy_of(laid, tmp_path / "work")
