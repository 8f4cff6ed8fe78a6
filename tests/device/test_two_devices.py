"""Two processes with a device each train as one does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from device import rows

SCRIPT = Path(__file__).with_name("ranks.py")


@pytest.mark.heavy
def test_two_devices_train_as_one(cuda: str, shared: Path) -> None:
    rows.make("seg.zarr")
    line = rows.ROWS["train freq-overlap"].line
    rows.called(f"{line} --device cuda:1 -o alone.pt -f -q")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), *line.split(), "-o", "together.pt", "-f", "-q"],
            env=environment | {"RANK": str(n), "LOCAL_RANK": str(n), "MASTER_PORT": str(port)},
        )
        for n in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    alone, together = (rows.arrays(Path(name)) for name in ("alone.pt", "together.pt"))
    for name in (name for name in alone if name.startswith("/weights")):
        np.testing.assert_allclose(alone[name], together[name], atol=1e-5, err_msg=name)
