"""k-means that works out few distances gives the clusters of the plain form."""

import numpy as np
import pytest
from numpy.typing import NDArray

from speechscope.clustering.kmeans import kmedians
from speechscope.fast.kmedians import kmedians as fast_kmedians


@pytest.mark.parametrize(("size", "count"), [(1, 12), (2, 30), (40, 60), (700, 20)])
def test_bounds_change_nothing(size: int, count: int) -> None:
    # Far starts, among them equal ones, leave clusters empty on the way.
    for seed in range(6):
        rng = np.random.default_rng(seed)
        centres = 4 * rng.normal(size=(9, size))
        values = centres[np.arange(400) % 9] + 2.0 * rng.normal(size=(400, size))
        points: NDArray[np.float32] = values.astype(np.float32)
        start = points[np.random.default_rng(seed).integers(0, 40, count)] * np.float32(1.5)
        plain, fast = kmedians(points, start), fast_kmedians(points, start)
        assert np.array_equal(plain.labels, fast.labels)
        assert np.array_equal(plain.centres, fast.centres)


@pytest.mark.parametrize("seed", [582, 781])
def test_the_farthest_point_is_that_of_all_distances(seed: int) -> None:
    # Bounds alone name another one: drawn among a thousand for that.
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(20, 120)), int(rng.integers(1, 4))
    count = int(rng.integers(4, n // 2))
    points = rng.normal(size=(n, d)) * rng.choice([1, 3], size=(n, 1))
    points = points.astype(np.float32)
    start = points[rng.integers(0, n, count)] * np.float32(rng.choice([0.3, 1.0, 2.0]))
    plain, fast = kmedians(points, start), fast_kmedians(points, start)
    assert np.array_equal(plain.labels, fast.labels)
