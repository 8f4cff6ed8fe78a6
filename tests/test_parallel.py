from collections.abc import Iterator

import pytest

from speechscope.parallel import ahead


def test_values_come_in_order_one_ahead() -> None:
    made: list[int] = []

    def values() -> Iterator[int]:
        for value in range(5):
            made.append(value)
            yield value

    used = []
    for value in ahead(values()):
        used.append(value)
        assert len(made) <= len(used) + 1
    assert used == list(range(5))
    assert list(ahead([])) == []


def test_an_error_comes_where_its_value_would() -> None:
    def values() -> Iterator[int]:
        yield 1
        raise ValueError("two")

    found = ahead(values())
    assert next(found) == 1
    with pytest.raises(ValueError, match="two"):
        next(found)
