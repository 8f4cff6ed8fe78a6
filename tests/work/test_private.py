"""Interfaces that are not public where they come from: each used in one place, and still there.

A release of Python, PyTorch, Zarr or Numba that changes one fails here, and says which.
"""

import ast
import asyncio
import io
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
import zarr.core.sync

import speechscope
from speechscope.store.writer import _drain_zarr
from speechscope.work.local import Overlapping

PACKAGE = Path(speechscope.__file__).parent
PRIVATE = {
    "zarr.core.sync": "store/writer.py",
    "pickle._Unpickler": "store/checkpoint.py",
    "ctypes.pythonapi.PyThreadState_SetAsyncExc": "work/local.py",
    "torch._ctc_loss": "training/evaluation.py",
    "torch._fused_adagrad_": "training/optimizers.py",
    "numba.core.caching": "fast/compiled.py",
    "numba.core.serialize": "fast/compiled.py",
}
"""Where each is used; the reason stands beside it there."""


def used(path: Path) -> Iterator[str]:
    """Yield the private names of other packages that a module uses."""
    tree = ast.parse(path.read_text())
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
            yield from (alias.name for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module:
            if not node.module.startswith("speechscope"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from ([node.module] if is_private(node.module) else filter(is_private, names))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            plain = all(part.isidentifier() for part in name.split("."))
            if plain and name.split(".")[0] in modules and is_private(name):
                yield name


def is_private(name: str) -> bool:
    parts = name.split(".")
    hidden = any(part.startswith("_") and not part.startswith("__") for part in parts[1:])
    return (
        (hidden and name != "os._exit")  # which is documented
        or name.startswith("ctypes.pythonapi.")
        or (parts[:2] in (["zarr", "core"], ["numba", "core"]) and len(parts) == 3)
    )


def test_each_is_used_in_one_place() -> None:
    places = {
        (name, str(path.relative_to(PACKAGE)))
        for path in PACKAGE.rglob("*.py")
        for name in used(path)
    }
    assert places == set(PRIVATE.items())


def test_the_event_loop_of_zarr_can_be_waited_for() -> None:
    group = zarr.open_group(zarr.storage.MemoryStore(), mode="w")
    group.create_array("a", shape=(2,), dtype="int8")
    loop = zarr.core.sync.loop[0]
    assert isinstance(loop, asyncio.AbstractEventLoop) and loop.is_running()
    ended = threading.Event()

    async def left_behind() -> None:
        await asyncio.sleep(0.05)
        ended.set()

    asyncio.run_coroutine_threadsafe(left_behind(), loop)
    time.sleep(0.01)
    _drain_zarr()
    assert ended.is_set()


def test_there_is_an_unpickler_that_trusts_no_place_in_its_memo() -> None:
    class Reader(pickle._Unpickler):
        def find_class(self, module: str, name: str) -> str:
            return f"{module}.{name}"

        def persistent_load(self, pid: object) -> object:
            return ("tensor", pid)

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> object:
            return "7" if obj is torch else None

    target = io.BytesIO()
    Pickler(target, protocol=2).dump({"w": torch, "kind": Path})
    # A dictionary, a class by its name, a tensor by what stands for it.
    assert Reader(io.BytesIO(target.getvalue())).load() == {
        "w": ("tensor", "7"),
        "kind": f"{Path.__module__}.Path",
    }
    # LONG_BINPUT at place 2**31: what is written in C takes sixteen gigabytes for it.
    assert Reader(io.BytesIO(b"\x80\x02K\x01r\xff\xff\xff\x7f.")).load() == 1


def test_a_thread_is_interrupted() -> None:
    seen: list[type[BaseException]] = []

    def endless(task: int) -> int:
        try:
            for _ in range(2000 * task):
                time.sleep(0.005)
        except BaseException as error:
            seen.append(type(error))
            raise
        return task

    executor = Overlapping(together=False)
    with pytest.raises(ValueError, match="enough"), executor.ordered_map(endless, range(9)) as done:
        assert next(done) == 0
        time.sleep(0.05)
        raise ValueError("enough")
    assert set(seen) == {KeyboardInterrupt}


def test_the_fused_step_of_adagrad_is_the_plain_one() -> None:
    generator = np.random.default_rng(0)
    weight, grad, total = (
        torch.from_numpy(generator.random(1000).astype(np.float32)) for _ in range(3)
    )
    expected = weight - 0.1 * grad / ((total + grad**2).sqrt() + 1e-10)
    torch._fused_adagrad_(
        [weight], [grad], [total], [torch.ones(())],
        lr=0.1, lr_decay=0.0, weight_decay=0.0, eps=1e-10, maximize=False,
    )  # fmt: skip
    torch.testing.assert_close(weight, expected, rtol=1e-6, atol=1e-7)


def test_ctc_gives_what_its_derivative_is_made_of() -> None:
    y = torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(0)).log_softmax(2)
    loss, alpha = torch._ctc_loss(y, torch.tensor([[1]]), [4], [1], blank=0)
    # Blanks, 1 once or several times, blanks: ten paths of four steps.
    paths = [(a, b) for a in range(4) for b in range(a, 4)]
    p = sum(
        float(y[range(4), 0, [int(a <= t <= b) for t in range(4)]].sum().exp()) for a, b in paths
    )
    assert float(loss) == pytest.approx(-np.log(p), rel=1e-5)
    assert alpha.shape == (1, 4, 3)
    assert float(-alpha[0, 3, 1:].logsumexp(0)) == pytest.approx(float(loss), rel=1e-5)
