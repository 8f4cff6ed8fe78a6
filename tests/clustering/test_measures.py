"""Precision, recall, purity, probes, likeness and reductions, by hand and against loops."""

import numpy as np
import oracles
import pytest

from speechscope.clustering.layer import counts_of
from speechscope.clustering.measures import (
    alignment,
    composition,
    feature_probes,
    grouping,
    independence,
    inner_products,
    mutual_information,
    phonological_purity,
    precision_recall,
    probe,
    purity,
)
from speechscope.clustering.reduction import (
    class_means,
    class_projections,
    principal_components,
    projected,
    tsne,
)
from speechscope.errors import UsageProblem


def test_precision_and_recall_by_hand() -> None:
    # Clusters 0 and 1 are of phone 0, cluster 2 of phone 1; phone 2 has none.
    counts = np.array([[3, 1, 0], [2, 0, 0], [1, 4, 2], [0, 0, 0]])
    precision, recall, f_measure = precision_recall(counts)
    assert precision == pytest.approx((5 / 6 + 4 / 7 + 0) / 3)
    assert recall == pytest.approx((5 / 6 + 4 / 5 + 0) / 3)
    assert f_measure == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_loops_and_ignore_the_numbering_of_clusters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(5, size=80)
    clusters = np.where(rng.random(80) < 0.6, labels, rng.integers(6, size=80))
    found = scores(clusters, labels, 6)
    assert found[:2] == pytest.approx(oracles.clusters_as_phones(clusters, labels))
    other = rng.permutation(6)[clusters]
    assert scores(other, labels, 6) == pytest.approx(found, abs=1e-12)


def scores(clusters: np.ndarray, labels: np.ndarray, count: int) -> tuple[float, ...]:
    counts = composition(clusters, labels, (count, labels.max() + 1))
    return *precision_recall(counts), mutual_information(clusters, labels)


def test_clusters_that_are_the_classes_have_full_marks() -> None:
    labels = np.arange(30) % 3
    assert scores(labels, labels, 3) == pytest.approx((1, 1, 1, 1))


def test_clusters_drawn_at_random_have_no_mutual_information() -> None:
    rng = np.random.default_rng(0)
    clusters, labels = rng.integers(0, 20, 80), rng.integers(0, 15, 80)
    # It is 0.6 where chance is not taken off.
    assert abs(mutual_information(clusters, labels)) < 0.1


def test_purity_by_hand() -> None:
    # Phones p and b are plosives, s is a fricative, silence is neither.
    groups = grouping(("plosive", "plosive", "fricative", "-"))
    assert groups.tolist() == [[1, 0], [1, 0], [0, 1], [0, 0]]
    counts = np.array([[2, 3, 1, 9], [0, 1, 4, 0]])
    assert purity(counts, groups) == pytest.approx((5 + 4) / 11)


def test_clusters_of_manners_are_purer_than_chance() -> None:
    values = ("plosive", "plosive", "plosive", "fricative", "fricative", "fricative")
    counts = np.array([[5, 5, 5, 0, 0, 0], [0, 0, 0, 5, 5, 5]])
    found = phonological_purity(counts, {"manner": values, "place": ("-",) * 6}, seed=0)
    assert found[0, 0] == 1 and 0.6 < found[0, 1] < 0.9
    assert np.isnan(found[1]).all()


def test_a_probe_tells_what_a_line_divides_and_not_what_it_does_not() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 4))
    speakers = np.arange(400) % 8
    assert probe(points, points[:, 0] > 0, speakers) > 0.95
    assert 0.3 < probe(points, points[:, 0] * points[:, 1] > 0, speakers) < 0.65
    assert np.isnan(probe(points, points[:, 0] > 0, np.zeros(400, dtype=int)))
    assert np.isnan(probe(points, speakers, speakers))  # a value only one speaker has
    rare = np.isin(np.arange(400), [0, 1])  # in training once, for who is tested on the other
    assert np.isnan(probe(points, rare, speakers))


def test_a_probe_is_tested_on_other_speakers() -> None:
    # What is to be told is the opposite in every other speaker, whom a place in space gives away.
    rng = np.random.default_rng(1)
    speakers = np.repeat(np.arange(4), 100)
    values = rng.integers(2, size=400)
    points = 0.1 * rng.normal(size=(400, 6))
    points[np.arange(400), speakers] += 2 * values - 1
    assert probe(points, values, speakers, folds=4) < 0.7


def test_a_feature_is_probed_beside_its_control() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 12
    values = ("a",) * 6 + ("b",) * 6
    points = rng.normal(size=(600, 5))
    points[:, 0] += 4.0 * (labels < 6)
    features = [(*values, "-"), ("-",) * 13]
    found = feature_probes(points, labels, np.arange(600) % 7, features, seed=0)
    assert found[0, 0] > 0.95 and found[0, 1] < 0.9
    assert np.isnan(found[1]).all()


def test_likeness_is_the_statistic_over_fours_of_samples() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 5))
    first, second = inner_products(x), inner_products(y)
    np.testing.assert_allclose(first, (x - x.mean(0)) @ (x - x.mean(0)).T)
    assert independence(first, second) == pytest.approx(oracles.independence(first, second))


def test_likeness_ignores_rotation_and_scale_and_chance() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 6))
    turned = 3 * x @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + 7
    assert alignment(inner_products(x), inner_products(turned)) == pytest.approx(1)
    many = [inner_products(rng.normal(size=(100, 500))) for _ in range(2)]
    assert abs(alignment(*many)) < 0.1
    assert np.isnan(alignment(inner_products(np.ones((9, 2))), many[0][:9, :9]))


def test_components_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    for shape in ((80, 12), (12, 80)):
        points = rng.normal(size=shape) * np.linspace(3, 0.1, shape[1])
        theirs = PCA(0.9, svd_solver="full").fit(points)
        ours = principal_components(points)
        assert ours.shape[1] == theirs.n_components_
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs.transform(points)), atol=1e-5)
        assert (ours.max(0) == np.abs(ours).max(0)).all()


def test_large_matrices_give_the_same_components(monkeypatch: pytest.MonkeyPatch) -> None:
    from speechscope.clustering import reduction

    points = np.random.default_rng(0).normal(size=(90, 70)) * np.geomspace(9, 0.01, 70)
    wanted = principal_components(points)
    monkeypatch.setattr(reduction, "DIRECT", 10)
    monkeypatch.setattr(reduction, "FIRST", 2)
    found = principal_components(points)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_tsne_keeps_clusters_together() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    points = (20 * np.eye(3)[labels] + rng.normal(size=(60, 3))).astype(np.float32)
    flat = tsne(principal_components(points), seed=0)
    centres = class_means(flat, labels, 3)
    away = np.linalg.norm(flat[:, None] - centres, axis=2)
    assert away.argmin(1).tolist() == labels.tolist()
    assert np.array_equal(flat, tsne(principal_components(points), seed=0))


def test_means_and_projections_leave_out_classes_without_samples() -> None:
    values = np.arange(24.0).reshape(6, 2, 2).astype(np.float32)
    labels = np.array([0, 0, 2, 2, 3, 3])
    means = class_means(values, labels, 5)
    np.testing.assert_array_equal(means[2], values[2:4].mean(0))
    assert np.isnan(means[[1, 4]]).all()
    found = class_projections(means.reshape(5, -1), seed=0)
    assert found.shape == (2, 5, 3) and np.isnan(found[:, [1, 4]]).all()
    assert np.isfinite(found[0, [0, 2, 3]]).all()
    assert projected(np.ones((4, 7))).tolist() == [[0, 0, 0]] * 4


def test_numbers_of_clusters() -> None:
    labels = np.repeat(np.arange(7), 4)
    assert counts_of(labels, "classes", "classes") == (7,)
    assert counts_of(labels, "auto", "classes") == (2, 3, 4, 5, 6, 7)
    assert counts_of(labels, "auto", 4) == (2, 3, 4)
    assert counts_of(labels, 9, "classes") == (9,)
    for wrong in (1, 28, 99):
        with pytest.raises(UsageProblem, match="expected from 2"):
            counts_of(labels, wrong, "classes")
