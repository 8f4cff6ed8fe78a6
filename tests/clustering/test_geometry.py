"""What layers tell apart, against slow formulas and on constructions that know one thing."""

from itertools import product

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from speechscope.clustering.geometry import (
    abx,
    analogies,
    angles,
    between,
    canonical,
    dissimilarities,
    elsewhere,
    halves,
    landing,
    representational,
    selectivity,
)
from speechscope.corpus.phones import PHONES_48
from speechscope.corpus.steps import pairs_of

PHONES = np.repeat(np.arange(4), 12)
WHO = np.tile(np.arange(3), 16)


def drawn(phone: float, speaker: float, seed: int = 0) -> NDArray[np.float64]:
    """Points that hold so much of their phone and of their speaker."""
    rng = np.random.default_rng(seed)
    of_phone, of_speaker = rng.normal(size=(4, 20)), rng.normal(size=(3, 20))
    noise = rng.normal(size=(48, 20))
    return np.asarray(phone * of_phone[PHONES] + speaker * of_speaker[WHO] + noise)


def test_abx_is_that_of_every_triplet() -> None:
    points = np.round(drawn(0.7, 0.5)[:30, :2])  # ties, and unequal numbers
    on, across = PHONES[:30] % 3, WHO[:30]
    distance = angles(points)
    unit = points / np.maximum(np.linalg.norm(points, axis=1), 1e-12)[:, None]
    for i, j in ((0, 1), (3, 20)):
        wanted = np.arccos(np.clip(unit[i] @ unit[j], -1, 1)) / np.pi
        assert distance[i, j] == pytest.approx(wanted)
    found = abx(distance, on, across)
    for x in range(30):
        cells = []
        for group, other in product(np.unique(across), np.unique(on)):
            if group == across[x] or other == on[x]:
                continue
            votes = []
            for a, b in product(range(30), repeat=2):
                if across[a] == across[b] == group and on[a] == on[x] and on[b] == other:
                    near, far = distance[x, a], distance[x, b]
                    votes.append(1.0 if near < far else 0.5 if near == far else 0.0)
            if votes:
                cells.append(np.mean(votes))
        assert found[x] == pytest.approx(np.mean(cells) if cells else np.nan, nan_ok=True)


def test_what_a_layer_knows_is_told_apart_and_nothing_else() -> None:
    phone, speaker = angles(drawn(2, 0)), angles(drawn(0, 2))
    assert np.mean(abx(phone, PHONES, WHO)) > 0.9
    assert abs(np.mean(abx(phone, WHO, PHONES)) - 0.5) < 0.06
    assert np.mean(abx(speaker, WHO, PHONES)) > 0.9
    assert abs(np.mean(abx(speaker, PHONES, WHO)) - 0.5) < 0.06


def test_a_unit_is_selective_for_what_it_answers_to_most() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(48, 3))
    points[PHONES == 2, 0] += 5
    points[PHONES < 2, 1] += 5
    found = selectivity(points, PHONES)
    np.testing.assert_allclose(found[0], [0, 0, 1, 0])
    np.testing.assert_allclose(found[1], [2 / 3, 2 / 3, 0, 0])
    points = np.round(2 * points) / 2  # ties
    found = selectivity(points, PHONES)
    for unit, a in product(range(3), range(4)):
        told = 0
        for b in set(range(4)) - {a}:
            mine, theirs = points[PHONES == a, unit], points[PHONES == b, unit]
            u = sum(float(x > y) + 0.5 * float(x == y) for x in mine for y in theirs)
            ties = np.unique(np.concatenate([mine, theirs]), return_counts=True)[1]
            var = 12 * 12 / 12 * (25 - (ties**3 - ties).sum() / (24 * 23))
            z = (u - 72 - 0.5) / np.sqrt(var)
            told += u > 72 and 2 * scipy.stats.norm.sf(z) < 0.01
        assert found[unit, a] == pytest.approx(told / 3)
    values = rng.normal(size=(7, 9))
    groups = np.repeat([0, 1, 2], [2, 3, 4])
    inner = sum(np.square(row[groups == g] - row[groups == g].mean()).sum()
                for row in values for g in range(3))  # fmt: skip
    whole = np.square(values - values.mean(1, keepdims=True)).sum()
    assert between(values, groups) == pytest.approx(1 - inner / whole)


def test_likeness_is_that_of_the_formulas() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(30, 6))
    second = first @ rng.normal(size=(6, 9)) + 2 * rng.normal(size=(30, 9))
    sides = [dissimilarities(part) for part in (first, second)]
    np.testing.assert_allclose(sides[0], squareform(pdist(first, "correlation")), atol=1e-12)
    wanted = scipy.stats.spearmanr(*(pdist(part, "correlation") for part in (first, second)))
    assert representational(*sides) == pytest.approx(wanted.statistic)
    # By the definition: roots of the eigenvalues of Σ₁₁⁻¹ Σ₁₂ Σ₂₂⁻¹ Σ₂₁.
    joint = np.cov(first.T, second[:, :4].T)
    a, b, c = joint[:6, :6], joint[:6, 6:], joint[6:, 6:]
    squares = np.linalg.eigvals(np.linalg.solve(a, b) @ np.linalg.solve(c, b.T)).real
    wanted = np.sqrt(np.sort(squares)[-4:]).mean()
    assert canonical(first, second[:, :4]) == pytest.approx(float(wanted))
    assert canonical(first, first @ rng.normal(size=(6, 6))) == pytest.approx(1)


def test_steps_lead_from_phone_to_phone() -> None:
    named = {
        step: {(PHONES_48[a], PHONES_48[b]) for a, b in pairs_of(step, PHONES_48)}
        for step in ("voicing", "nasality", "frication", "place", "height")
    }
    assert {("d", "t"), ("b", "p"), ("z", "s"), ("jh", "ch")} <= named["voicing"]
    assert ("vcl", "cl") not in named["voicing"]
    assert named["nasality"] == {("m", "b"), ("n", "d"), ("en", "d"), ("ng", "g")}
    assert {("s", "t"), ("f", "p")} <= named["frication"]
    assert {("b", "d"), ("m", "n")} <= named["place"]
    assert ("iy", "eh") in named["height"] and ("iy", "ow") not in named["height"]


def test_a_step_that_is_the_same_everywhere_lands() -> None:
    rng = np.random.default_rng(0)
    base, step = rng.normal(size=(4, 30)), rng.normal(size=30)
    pairs = [(0, 4), (1, 5), (2, 6), (3, 7)]
    same = np.concatenate([base + 2 * step, base])
    of = analogies(pairs)
    assert len(of) == 12 and (0, 4, 1, 5) in of
    assert analogies([(0, 4), (1, 4), (2, 5)]) == [
        (0, 4, 2, 5), (1, 4, 2, 5), (2, 5, 0, 4), (2, 5, 1, 4),
    ]  # fmt: skip
    assert landing(same, of) == pytest.approx((1, 1))
    other = np.concatenate([base + 2 * rng.normal(size=(4, 30)), base])
    assert abs(landing(other, of)[0]) < 0.3
    # By loops: the first and third phone of each analogy are those after the step.
    cosines, landed = [], []
    for a, b, c, d in of:
        first, second = other[a] - other[b], other[c] - other[d]
        cosines.append(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
        at = other[b] + second
        near = {
            phone: at @ other[phone] / np.linalg.norm(other[phone])
            for phone in range(8)
            if phone not in (b, c, d)
        }
        landed.append(max(near, key=near.__getitem__) == a)
    assert landing(other, of) == pytest.approx((np.mean(cosines), np.mean(landed)))
    assert np.isnan(landing(same, analogies(pairs[:1]))).all()
    for (a, b, *_), (first, second, c, d) in zip(of, elsewhere(of, range(8), rng), strict=True):
        assert (first, second) == (a, b) and len({a, b, c, d}) == 4


def test_halves_vary_as_means_do() -> None:
    values = np.random.default_rng(0).normal(size=400)
    groups = np.arange(400) // 2
    parts = list(halves(groups, 400, 0))
    assert all(len(part) == 200 for part in parts)
    assert all((np.bincount(groups[part])[np.unique(groups[part])] == 2).all() for part in parts)
    of_groups = values.reshape(200, 2).mean(1)
    spread = np.std([values[part].mean() for part in parts])
    assert spread == pytest.approx(of_groups.std() / np.sqrt(200), rel=0.15)
