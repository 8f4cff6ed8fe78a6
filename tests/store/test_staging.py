import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.store.staging import staged, write_atomically


def write(path: Path, text: str, *, force: bool = False, fail: bool = False) -> None:
    with staged(path, force=force, directory=True, owned=lambda _: True) as folder:
        (folder / "data").write_text(text)
        if fail:
            raise RuntimeError("stopped half-way")


def test_the_output_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with staged(path, force=False, directory=True) as folder:
        (folder / "data").write_text("x")
        assert not path.exists()
    assert (path / "data").read_text() == "x"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_output_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(path, "old")
    with pytest.raises(RuntimeError):
        write(path, "new", force=True, fail=True)
    assert (path / "data").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_output_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(path, "old")
    with pytest.raises(UsageProblem, match="--force"):
        write(path, "new")
    assert (path / "data").read_text() == "old"
    write(path, "new", force=True)
    assert (path / "data").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "recordings"
    path.mkdir()
    (path / "SA1.WAV").write_text("precious")
    with (
        pytest.raises(UsageProblem, match="not made by speechscope"),
        staged(path, force=True, directory=True, owned=lambda _: False),
    ):
        pass
    assert (path / "SA1.WAV").read_text() == "precious"


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with (
        staged(path, force=False, directory=True) as folder,
        pytest.raises(SpeechscopeError, match="being written by another process"),
    ):
        (folder / "data").write_text("first")
        write(path, "second")
    assert (path / "data").read_text() == "first"


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "out"
    code = f"""
        import os, signal
        from pathlib import Path
        from speechscope.store.staging import staged
        with staged(Path({str(path)!r}), force=False, directory=True) as folder:
            (folder / "junk").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.with_name(f".{path.name}.partial").exists() and not path.exists()
    write(path, "whole")
    assert [p.name for p in path.iterdir()] == ["data"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpeechscopeError, match="missing does not exist"):
        write(tmp_path / "missing" / "out", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SpeechscopeError, match="cannot be written"):
        write(tmp_path / "out", "x")


def test_a_file_is_staged_like_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_text("old")
    with staged(path, force=True, directory=False) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


class Disk:
    """Notes what is synced: of each file its size then, and whether the output had its name."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: dict[int, tuple[int, bool]] = {}
        self._path, self._sync = path, os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, handle: int) -> None:
        status = os.fstat(handle)
        self.synced[status.st_ino] = status.st_size, self._path.exists()
        self._sync(handle)

    def holds(self, path: Path, *, named: bool = False) -> bool:
        """Say whether a file was synced as it is now, before or after the output had its name."""
        status = path.stat()
        if status.st_ino not in self.synced:
            return False
        size, had_name = self.synced[status.st_ino]
        return had_name == named and (path.is_dir() or size == status.st_size)


def test_a_folder_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    disk = Disk(path, monkeypatch)
    with staged(path, force=False, directory=True) as folder:
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "c").write_bytes(b"deep")
        (folder / "d").write_bytes(b"flat")
    for inside in (path, *path.rglob("*")):
        assert disk.holds(inside), inside
    assert disk.holds(tmp_path, named=True)  # and then the name itself


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    disk = Disk(path, monkeypatch)
    with staged(path, force=False, directory=False) as partial:
        partial.write_bytes(b"weights")
    assert disk.holds(path) and disk.holds(tmp_path, named=True)
    other = tmp_path / "state.pt"
    disk = Disk(other, monkeypatch)
    write_atomically(other, lambda place: place.write_bytes(b"more weights"))
    assert disk.holds(other) and disk.holds(tmp_path, named=True)
