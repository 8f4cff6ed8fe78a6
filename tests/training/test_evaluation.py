import numpy as np
import pytest

from speechscope.training.evaluation import accuracy, balanced_accuracy


def test_balanced_accuracy_weighs_classes_alike() -> None:
    labels = np.array([0, 0, 0, 0, 2, 2])
    predicted = np.array([0, 0, 0, 1, 2, 0])
    assert accuracy(labels, predicted) == pytest.approx(4 / 6)
    assert balanced_accuracy(labels, predicted) == pytest.approx((3 / 4 + 1 / 2) / 2)
