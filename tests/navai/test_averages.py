"""Alignment and averaging against hand-computed crops and a slow loop."""

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.navai import averages
from speechscope.navai.alignment import crop, shifts
from speechscope.navai.averages import MOVED, SHUFFLED, Averages, Means
from speechscope.registry import ALIGNMENTS


def summed(
    shape: tuple[int, int, int], classes: int = 2, alignments: int = 1, seed: int = 0
) -> Averages:
    return Averages(alignments, classes, shape, device=torch.device("cpu"), seed=seed)


@pytest.mark.parametrize(
    ("shift", "row"),
    [
        (0, [1, 2, 3, 4, 5, 6, 7]),
        (1, [0, 3, 4, 5, 6, 7, 0]),  # frame 5 in the middle, the first two cut off
        (-2, [0, 0, 1, 2, 3, 0, 0]),  # frame 2 in the middle, the last four cut off
        (3, [0, 0, 0, 7, 0, 0, 0]),
    ],
)
def test_an_input_is_cropped_on_one_side(shift: int, row: list[int]) -> None:
    assert cropped(list(range(1, 8)), shift) == row


def cropped(row: list[int], shift: int) -> list[int]:
    out = [0] * len(row)
    source, place = crop(shift, len(row))
    out[place] = row[source]
    assert len(out) == len(row)
    return out


@pytest.mark.parametrize(
    ("shift", "row"),
    [
        (1, [0, 3, 4, 5, 6, 0]),
        (-1, [0, 1, 2, 3, 4, 0]),
        (-3, [0, 0, 0, 1, 0, 0]),  # the first frame: nothing else is left
    ],
)
def test_an_even_number_of_frames_has_its_middle_after_the_half(shift: int, row: list[int]) -> None:
    assert cropped(list(range(1, 7)), shift) == row


def test_the_frame_of_the_extreme_value_is_chosen() -> None:
    x = torch.zeros(1, 2, 3, 7)
    gradient, lrp = x.clone(), x.clone()
    gradient[0, 1, 2, 0], gradient[0, 0, 1, 4], lrp[0, 0, 0, 6] = 5.0, -9.0, 1.0
    relevance = {"gradient": gradient, "lrp": lrp}
    names = ALIGNMENTS.names()
    assert names == ("none", "min-sensitivity", "max-sensitivity", "max-lrp")
    assert shifts(names, relevance, x).tolist() == [[0], [1], [-3], [3]]


def test_without_evidence_nothing_moves() -> None:
    x = torch.zeros(2, 1, 3, 7)
    tied = x.clone()
    tied[1, 0, 0, [1, 2, 4, 6]] = 1.0
    found = shifts(["max-lrp"], {"lrp": tied}, x)
    assert found.tolist() == [[0, -1]]  # the nearest, the earlier


def random_inputs(count: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(count, 2, 3, 9, generator=rng)
    target = torch.randint(0, 3, (count,), generator=rng)
    return x, target, torch.randint(-4, 5, (2, count), generator=rng)


def test_means_are_those_of_a_slow_loop() -> None:
    x, target, shift = random_inputs()
    averages = summed((2, 3, 9), classes=3, alignments=2)
    averages.add(x, target, shift)
    found = Means(averages.sums, "inputs")
    for a in range(2):
        chosen = (shift[a] + 4).tolist()
        for label in range(3):
            wanted = oracles.navai_mean(x.double().numpy(), target.tolist(), chosen, label)
            np.testing.assert_allclose(found.mean()[a, label], wanted, atol=1e-12)
        over = oracles.navai_mean(x.double().numpy(), [0] * len(x), chosen, 0)
        np.testing.assert_allclose(found.normalizer[a], over, atol=1e-12)
    np.testing.assert_allclose(found.pattern(), found.mean() - found.normalizer[:, None])
    assert found.count.tolist() == np.bincount(target).tolist()
    alike = Means(averages.sums, "classes")
    np.testing.assert_allclose(alike.normalizer, found.mean().mean(1), atol=1e-12)


def test_how_many_inputs_reach_a_frame_is_counted() -> None:
    averages = summed((1, 1, 5), classes=1)
    averages.add(
        torch.ones(3, 1, 1, 5), torch.zeros(3, dtype=torch.long), torch.tensor([[0, 1, -2]])
    )
    assert Means(averages.sums, "inputs").covered.tolist() == [[[1, 2, 3, 2, 1]]]


def test_navai_of_identical_inputs_is_that_input() -> None:
    x = torch.randn(1, 2, 3, 9, generator=torch.Generator().manual_seed(0))
    averages = summed((2, 3, 9))
    for target in (0, 1, 1):
        many = x.expand(7, -1, -1, -1)
        averages.add(many, torch.full((7,), target), torch.zeros(1, 7, dtype=torch.long))
    found = Means(averages.sums, "inputs")
    assert (found.mean() == x.double().numpy()).all()
    np.testing.assert_allclose(found.pattern(), 0, atol=1e-15)


@pytest.mark.parametrize("size", [1, 7, 39])
def test_the_size_of_blocks_does_not_matter(size: int) -> None:
    x, target, shift = random_inputs()
    whole, parts = (summed((2, 3, 9), classes=3, alignments=2) for _ in range(2))
    groups = np.array([[(int(t), n % 2) for n, t in enumerate(target)]] * 2)
    whole.add(x, target, shift, groups)
    for start in range(0, len(x), size):
        some = slice(start, start + size)
        parts.add(x[some], target[some], shift[:, some], groups[:, some])
    a, b = Means(whole.sums, "inputs"), Means(parts.sums, "inputs")
    np.testing.assert_allclose(a.mean(), b.mean(), atol=1e-13)
    np.testing.assert_allclose(a.normalizer, b.normalizer, atol=1e-13)
    assert (a.covered == b.covered).all() and (a.count == b.count).all()
    for name in ("part", "part_count"):
        first, second = whole.sums.of(name), parts.sums.of(name)
        assert list(first) == list(second) and len(first) == 6
        for key, value in first.items():
            np.testing.assert_allclose(value, second[key], atol=1e-12)


def test_shuffled_classes_keep_their_sizes_and_lose_their_pattern() -> None:
    rng = torch.Generator().manual_seed(0)
    target = torch.arange(400) % 2
    x = (target * 2.0 - 1).view(-1, 1, 1, 1) + torch.randn(400, 1, 1, 4, generator=rng) / 10
    averages = summed((1, 1, 4))
    averages.add(x, target, torch.zeros(1, 400, dtype=torch.long))
    found = Means(averages.sums, "inputs")
    assert np.abs(found.pattern()).min() > 0.9
    assert np.abs(found.pattern(SHUFFLED)).max() < 0.2
    np.testing.assert_allclose(found.mean(SHUFFLED).mean(1), found.normalizer, atol=1e-12)


def test_shifts_of_others_crop_as_much_and_align_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    shift = torch.randint(-3, 4, (1, 300), generator=rng)
    x = torch.zeros(300, 1, 1, 11)
    x[torch.arange(300), 0, 0, 5 + shift[0]] = 1.0
    target = torch.arange(300) % 3
    x[target == 0] *= -1
    averages = summed((1, 1, 11), classes=3)
    averages.add(x, target, shift)
    found = Means(averages.sums, "inputs")
    assert np.abs(found.mean()[0, :, 0, 0]).min(0).argmax() == 5  # each stands in the middle
    np.testing.assert_allclose(np.abs(found.mean()[0, :, 0, 0, 5]), 1)
    assert np.abs(found.mean(MOVED)[0, :, 0, 0, 5]).max() < 0.35  # of seven places
    over = found.mean(MOVED).mean(1, keepdims=True)
    np.testing.assert_allclose(found.pattern(MOVED), found.mean(MOVED) - over, atol=1e-12)
    none = summed((1, 1, 11), classes=3)
    none.add(x, target, torch.zeros_like(shift))
    found = Means(none.sums, "inputs")
    np.testing.assert_array_equal(found.mean(MOVED), found.mean())


def test_parts_of_a_class_have_their_own_sums() -> None:
    x = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 1, 3)
    target = torch.tensor([0, 0, 0, 1, 1, 1])
    averages = summed((1, 1, 3))
    parts = np.array([[(0, 0), (0, 0), (0, 1), (1, -1), (1, 1), (1, 1)]])
    averages.add(x, target, torch.zeros(1, 6, dtype=torch.long), parts)
    totals = {key: float(value[0, 0, 0]) for key, value in averages.sums.of("part").items()}
    counts = {key: int(value[0]) for key, value in averages.sums.of("part_count").items()}
    assert totals == {(0, 0): 1.0, (0, 1): 2.0, (1, 1): 9.0}
    assert counts == {(0, 0): 2, (0, 1): 1, (1, 1): 2}


def test_a_class_without_inputs_has_no_mean() -> None:
    averages = summed((1, 1, 3), classes=3)
    averages.add(torch.ones(2, 1, 1, 3), torch.tensor([0, 2]), torch.zeros(1, 2, dtype=torch.long))
    found = Means(averages.sums, "inputs")
    assert found.count.tolist() == [1, 0, 1]
    assert np.isnan(found.mean()[0, 1]).all() and not np.isnan(found.normalizer).any()


def test_means_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averages, "MOST_BYTES", 500)
    with pytest.raises(UsageProblem, match="GB of memory"):
        summed((1, 8, 9))
    some = summed((1, 2, 3))
    with pytest.raises(UsageProblem, match="--by"):
        for part in range(9):
            one = torch.zeros(1, dtype=torch.long)
            some.add(torch.ones(1, 1, 2, 3), one, one[None], np.array([[(0, part)]]))
