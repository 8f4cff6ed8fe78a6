"""The statistics of every score, on items whose chance is known."""

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.stats

from speechscope.features.distances import lost, partners
from speechscope.scores.clusters import _agreement, _purity
from speechscope.scores.statistics import (
    ABOVE,
    AT,
    FEW,
    Row,
    Score,
    Sums,
    Whole,
    holm,
    rows_of,
    shuffled,
)
from speechscope.scores.tables import LISTED, sentences

Rng = np.random.Generator


def row(score: Score | Whole) -> Row:
    (found,) = rows_of([score])
    return found


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        low, high = Sums(rng.normal(size=60), np.ones(60)).interval(trial, resamples=300)
        hits += low <= 0 <= high
    assert 0.88 * 200 <= hits <= 0.99 * 200
    low, high = Sums(rng.normal(size=900), np.ones(900)).interval()
    # The normal interval is 1.96 / √900 on each side.
    assert high - low == pytest.approx(2 * 1.96 / 30, rel=0.15)


def test_the_interval_over_speakers_is_that_of_their_means() -> None:
    rng = np.random.default_rng(1)
    means = rng.normal(size=30)
    speakers = np.repeat(np.arange(30), 20)
    values = means[speakers] + 0.01 * rng.normal(size=600)
    alone = row(Score({}, values))
    together = row(Score({}, values, speakers=speakers))
    assert isinstance(alone["low"], float) and isinstance(together["low"], float)
    assert together["value"] == pytest.approx(means.mean(), abs=0.01)
    # 600 items of 30 speakers tell no more than 30 items.
    width = 2 * 1.96 * means.std() / np.sqrt(30)
    assert float(together["high"] or 0) - together["low"] == pytest.approx(width, rel=0.2)
    assert float(alone["high"] or 0) - alone["low"] < width / 3


def test_the_test_of_items_is_students() -> None:
    values = np.random.default_rng(2).normal(0.2, 1, size=40)
    p, limit = Sums(values, np.ones(40)).test()
    found = scipy.stats.ttest_1samp(values, 0, alternative="greater")
    assert p == pytest.approx(found.pvalue)
    # Its one-sided 95 % interval ends where the other one-sided test would begin to reject.
    upper = scipy.stats.ttest_1samp(values, 0, alternative="less").confidence_interval(0.95).high
    assert limit == pytest.approx(upper)


def test_few_groups_of_unequal_weight_seem_no_surer_than_they_are() -> None:
    rng, chosen = np.random.default_rng(0), 0
    for _ in range(2000):
        weights = np.exp(1.2 * rng.normal(size=8))
        chosen += Sums(weights * rng.normal(size=8), weights).test()[0] < 0.05
    assert 0.03 * 2000 < chosen < 0.075 * 2000
    assert np.isnan(Sums(np.ones(2), np.array([1.0, 0.0])).test()[0])


def test_few_large_values_do_not_decide_what_is_held_relatively() -> None:
    rng = np.random.default_rng(0)
    values, chance = rng.uniform(0.3, 0.4, 60), rng.uniform(0.8, 1.2, 60)
    chance[:2] = 300, -0.35  # nearly the value's opposite
    held = [
        row(Score({}, values, {"other": chance}, 0.0, False, relative=relative))["verdict"]
        for relative in (False, True)
    ]
    assert held == [FEW, ABOVE]
    same = Score({}, chance, {"other": rng.permutation(chance)}, 0.0, False, relative=True)
    assert row(same)["verdict"] != ABOVE


def test_holm_multiplies_by_what_is_left() -> None:
    assert holm([0.01, float("nan"), 0.04, 0.03]) == pytest.approx(
        [0.03, float("nan"), 0.06, 0.06], nan_ok=True
    )
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_partners_are_others_and_each_is_one_as_often() -> None:
    for count in (2, 3, 5, 40):
        pairs = partners(count)
        assert len(pairs) == min(count - 1, 4)
        for pair in pairs:
            assert (pair != np.arange(count)).all()
            assert sorted(pair) == list(range(count))
    assert len(partners(1)) == 0


def test_lost_pairs_leave_what_is_particular_to_each() -> None:
    rng = np.random.default_rng(0)
    rows, columns = rng.normal(size=(2, 30))
    pairs = partners(30)
    others = np.array([rows + columns[pair] for pair in pairs])
    # An item's score is what its original and its reconstruction add: all of it is chance.
    expected = rows + columns - (rows + columns).mean() + others.mean()
    same = lost(others, pairs)
    assert np.corrcoef(same, expected)[0, 1] > 0.85
    assert same.mean() == pytest.approx(others.mean())


def test_shuffled_answers_are_right_as_often_as_labels_are_answered() -> None:
    labels, answers = np.array(list("aaab")), np.array(list("abbb"))
    np.testing.assert_allclose(shuffled(answers, labels), [0.25, 0.25, 0.25, 0.75])
    rng = np.random.default_rng(0)
    drawn = [np.mean(rng.permutation(answers) == labels) for _ in range(4000)]
    assert shuffled(answers, labels).mean() == pytest.approx(np.mean(drawn), abs=0.01)


def pairs_of(rng: Rng, known: float, count: int = 60) -> Score:
    """A score of answers that know a share of their originals."""
    first, second = rng.normal(size=(2, count, 8))
    second += known * first

    def score(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a * b).sum(1))

    pairs = partners(count)
    chance = lost(np.array([score(first, second[pair]) for pair in pairs]), pairs)
    best = float((first**2).sum(1).mean())
    return Score({"measure": "product"}, score(first, second), {"others": chance}, best)


def verdicts(known: float, draws: int) -> Iterator[object]:
    rng = np.random.default_rng(7)
    for _ in range(draws):
        yield row(pairs_of(rng, known))["verdict"]


def test_what_knows_nothing_is_at_chance() -> None:
    found = list(verdicts(0.0, 200))
    assert found.count(AT) >= 0.94 * 200
    assert list(verdicts(1.0, 20)) == [ABOVE] * 20


def test_a_shifted_chance_is_noticed() -> None:
    score = pairs_of(np.random.default_rng(3), 0.0)
    assert row(score)["verdict"] == AT
    shifted = Score(score.names, score.values + 2.0, score.chance, score.ceiling)
    assert row(shifted)["verdict"] == ABOVE


def test_a_score_is_held_against_all_that_knows_nothing() -> None:
    values = np.random.default_rng(4).normal(1.0, 0.1, 40)
    low, high = np.zeros(40), np.full(40, 1.2)
    assert row(Score({}, values, {"low": low}))["verdict"] == ABOVE
    both = row(Score({}, values, {"low": low, "high": high}))
    assert (both["verdict"], both["null"]) == (AT, "high")
    assert both["chance"] == pytest.approx(1.2)
    fewer = row(Score({}, values, {"low": low, "high": high}, higher=False))
    assert (fewer["verdict"], fewer["null"]) == (AT, "low")


def test_few_items_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    assert row(Score({}, np.ones(11), {"none": np.zeros(11)}))["verdict"] == FEW
    assert row(Score({}, np.full(20, np.nan), {"none": np.zeros(20)}))["verdict"] == FEW
    # As uncertain as these are, they may be half way to the ceiling.
    wide = Score({}, 10 * rng.normal(size=20), {"none": np.zeros(20)}, ceiling=1.0)
    assert row(wide)["verdict"] == FEW
    assert row(Score({}, wide.values, {"none": np.zeros(20)}, ceiling=100.0))["verdict"] == AT


def test_what_is_not_held_against_chance_has_no_verdict() -> None:
    found = row(Score({"measure": "size"}, np.ones(30)))
    assert found["verdict"] is None and found["chance"] is None and found["value"] == 1.0
    plain: Row = {"artifact": "x", "cka": 0.5}
    assert list(rows_of([plain])) == [plain]


def test_many_scores_are_corrected_together() -> None:
    rng = np.random.default_rng(11)
    values = rng.normal(0.35, 1.0, size=40)
    one = Score({}, values, {"none": np.zeros(40)})
    assert row(one)["verdict"] == ABOVE
    rest = [Score({}, rng.normal(size=40), {"none": np.zeros(40)}) for _ in range(60)]
    first, *others = rows_of([one, *rest])
    assert first["verdict"] != ABOVE
    assert not any(other["verdict"] == ABOVE for other in others)


def test_rounding_is_not_better_than_chance() -> None:
    values = np.full(40, 0.3)
    noise = 1e-16 * np.random.default_rng(0).random(40)
    assert row(Score({}, values + noise, {"the same": values}))["verdict"] == AT


def test_a_score_of_all_items_is_held_against_draws() -> None:
    rng = np.random.default_rng(0)
    draws, spread = rng.normal(0.2, 0.05, 100), rng.normal(0.5, 0.02, 100)
    found = row(Whole({}, 0.5, draws, "labels", spread, 40))
    assert found["verdict"] == ABOVE and found["chance"] == pytest.approx(0.2, abs=0.02)
    assert float(found["low"] or 0) < 0.5 < float(found["high"] or 0)
    assert row(Whole({}, 0.22, draws, "labels", spread, 40))["verdict"] == AT
    assert row(Whole({}, 0.5, draws, "labels", spread, 4))["verdict"] == FEW
    assert row(Whole({}, 0.99, draws, "labels", spread, 40))["high"] == 1
    free = row(Whole({}, 0.99, draws, "labels", spread, 40, ceiling=None))
    assert float(free["high"] or 0) > 1


def test_a_sentence_names_so_many_measures_and_counts_the_rest() -> None:
    names: Row = {"artifact": "a.zarr", "verdict": ABOVE, "value": 1.0, "chance": 0.0}
    (said,) = sentences([{**names, "measure": f"F{k}"} for k in range(LISTED + 9)])
    assert f"F{LISTED - 1} and 9 others." in said and f"F{LISTED}," not in said
    (said,) = sentences([{**names, "measure": f"F{k}"} for k in range(LISTED + 1)])
    assert said.endswith(f"F{LISTED}.")


BLOBS, PLACES = 8, np.random.default_rng(0).normal(size=(8, 2)) * 3


def blobs(rng: Rng, count: int) -> list[Whole]:
    """Scores of blobs that overlap, each point being in the cluster of the nearest centre."""
    classes = rng.integers(0, BLOBS, count)
    points = PLACES[classes] + rng.normal(size=(count, 2))
    nearest = np.square(points[:, None] - PLACES).sum(2).argmin(1)
    kinds = {"itself": np.arange(BLOBS).astype(str)}
    return [*_agreement(nearest, classes), *_purity(nearest, classes, kinds)]


def covered(draws: int, count: int, monkeypatch: pytest.MonkeyPatch) -> dict[object, float]:
    """Return how often the interval of each score of blobs holds what it is of very many."""
    monkeypatch.setattr("speechscope.scores.clusters.CHANCES", 2)
    truth = {one.names["measure"]: one.value for one in blobs(np.random.default_rng(1), 10**5)}
    held = dict.fromkeys(truth, 0.0)
    rng = np.random.default_rng(2)
    for _ in range(draws):
        for found in rows_of(blobs(rng, count)):
            name = found["measure"]
            held[name] += (found["low"] or 0) <= truth[name] <= (found["high"] or 0)  # type: ignore
    return {name: times / draws for name, times in held.items()}


@pytest.mark.heavy
def test_intervals_of_clusters_cover_the_truth_in_200_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = covered(200, 600, monkeypatch)
    assert set(found) == {"precision", "recall", "f_measure", "ami", "purity in itself"}
    assert all(0.93 <= share <= 0.97 for share in found.values()), found


def test_intervals_of_clusters_are_as_wide_as_scores_spread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    monkeypatch.setattr("speechscope.scores.clusters.CHANCES", 2)
    rows = list(rows_of(blobs(rng, 150)))
    monkeypatch.setattr("speechscope.scores.clusters.HALVES", 2)
    drawn = np.array([[one.value for one in blobs(rng, 150)] for _ in range(20)])
    for row, spread in zip(rows, drawn.std(0), strict=True):
        low, value, high = (float(row[name] or 0) for name in ("low", "value", "high"))
        assert value == pytest.approx((low + high) / 2)
        assert 0.6 < (high - low) / (2 * 1.96 * spread) < 1.6, row["measure"]
