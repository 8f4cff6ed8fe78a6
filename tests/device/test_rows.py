"""Every command gives on the device what it gives on the CPU."""

from pathlib import Path

import pytest
from device import rows

from speechscope.registry import INVERSION, NETWORKS, RELEVANCE, RULES

ALL = [
    pytest.param(name, id=name, marks=() if row.default else pytest.mark.heavy)
    for name, row in rows.ROWS.items()
]


@pytest.mark.parametrize("name", ALL)
def test_as_on_the_cpu(name: str, cuda: str, shared: Path) -> None:
    assert rows.run(rows.ROWS[name], name.replace(" ", "-")) == []


def test_no_row_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = rows.ROWS
    assert [one for one in rows.choices() if not rows.shown(made, *one)] == []
    assert {row.line.split()[0] for row in made.values()} == set(rows.BASES)
    for name in NETWORKS.names():
        of = {row.line.split()[0] for row in made.values() if f"of-{name}.pt" in row.line}
        assert set(rows.LOOKING) <= of, name
    # What somebody registers tomorrow has one, too.
    for registry, command in ((RELEVANCE, "relevance"), (RULES, "navai"), (INVERSION, "invert")):
        monkeypatch.setitem(registry._entries, "of-tomorrow", None)
        assert any(
            row.line.startswith(command) and "of-tomorrow" in row.line
            for row in rows._rows().values()
        )


SECOND = ("train freq-overlap", "invert decode", "relevance", "navai", "score rel.zarr")


@pytest.mark.heavy
@pytest.mark.parametrize("name", SECOND)
def test_on_the_second_device(name: str, cuda: str, shared: Path) -> None:
    assert rows.run(rows.ROWS[name], name.replace(" ", "-"), "cuda:1") == []
