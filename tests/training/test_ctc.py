import numpy as np
import oracles
import pytest
import torch

from speechscope.corpus.letters import BLANK, OUTPUTS, encode, letters_of
from speechscope.training.evaluation import (
    _CTC,
    BEAM,
    constant_answer,
    constant_error,
    ctc_loss,
    edit_distance,
    greedy,
    letter_error_rate,
    outputs_needed,
)


def test_the_loss_is_minus_the_log_of_all_paths_together() -> None:
    # Three letters and a blank possible; the rest of the alphabet has no probability to speak of.
    rng = np.random.default_rng(0)
    for labels in ([], [0], [1, 0], [2, 2], [0, 1, 0]):
        logits = np.full((OUTPUTS, 5), -60.0)
        some = [0, 1, 2, BLANK]
        logits[some] = rng.normal(size=(4, 5))
        exponentials = np.exp(logits[some])
        probabilities = (exponentials / exponentials.sum(0)).T
        expected = oracles.ctc_negative_log(probabilities, labels, blank=3)
        found = ctc_loss(
            torch.from_numpy(logits)[None], torch.tensor([5]), [np.array(labels, dtype=np.int64)]
        )
        assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_loss_equals_the_forward_algorithm_and_counts_an_utterances_outputs_only() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, OUTPUTS, 20))
    texts, outputs = ["a bee", "hmm", ""], [20, 11, 7]
    labels = [encode(letters_of(text)) if text else np.empty(0, np.int64) for text in texts]
    found = ctc_loss(torch.from_numpy(logits), torch.tensor(outputs), labels)
    for one, label, count, loss in zip(logits, labels, outputs, found.tolist(), strict=True):
        exponentials = np.exp(one[:, :count])
        probabilities = (exponentials / exponentials.sum(0)).T
        expected = oracles.ctc_forward(probabilities, label.tolist(), BLANK)
        assert loss == pytest.approx(expected, rel=1e-5)


def test_the_form_for_gpus_has_the_derivative_of_the_other() -> None:
    logits = torch.randn(4, OUTPUTS, 30, generator=torch.Generator().manual_seed(0))
    labels = [encode(letters_of(text)) for text in ("a bee", "hmm", "lullaby")]
    labels.append(np.empty(0, np.int64))
    outputs = torch.tensor([30, 11, 17, 7])
    weights = torch.tensor([1.0, 0.5, 2.0, 0.1])
    found = []
    for loss in (
        lambda x: ctc_loss(x, outputs, labels),
        lambda x: _CTC.apply(x, outputs.tolist(), labels),  # type: ignore[no-untyped-call]
    ):
        x = logits.clone().requires_grad_()
        losses = loss(x)
        (losses * weights).sum().backward()
        found.append((losses.detach(), x.grad))
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_a_text_fits_if_and_only_if_its_loss_is_finite() -> None:
    for labels in ([0, 1, 2], [0, 0], [3, 3, 3], [4]):
        need = outputs_needed(np.array(labels))
        for count in (need - 1, need):
            loss = ctc_loss(
                torch.zeros(1, OUTPUTS, 6), torch.tensor([count]), [np.array(labels)]
            )  # fmt: skip
            assert bool(torch.isfinite(loss)) == (count >= need)
    assert outputs_needed(encode(letters_of("hello"))) == 5
    assert outputs_needed(np.array([], dtype=np.int64)) == 0


def test_the_greedy_answer_is_the_collapsed_best_path() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(6, OUTPUTS, 40))
    logits[:, [0, 1, BLANK]] += 2.0  # repetitions and blanks in plenty
    outputs = [40, 39, 12, 1, 0, 25]
    found = greedy(logits.argmax(1), torch.tensor(outputs))
    for one, count, answer in zip(logits, outputs, found, strict=True):
        path = one.argmax(0)[:count].tolist()
        assert answer.tolist() == oracles.collapsed(path, BLANK)


def test_the_edit_distance_equals_its_definition() -> None:
    rng = np.random.default_rng(3)
    for _ in range(150):
        first, second = ("".join(rng.choice(list("abc '"), rng.integers(0, 9))) for _ in range(2))
        assert edit_distance(first, second) == oracles.edits(first, second)
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "ab") == edit_distance("ab", "") == 2


def test_the_letter_error_rate_is_over_all_letters_together() -> None:
    pairs = [("abcd", "abd"), ("", "xx"), ("hello you", "hello you"), ("aaaa", "")]
    assert letter_error_rate(pairs) == (1 + 2 + 0 + 4) / (4 + 0 + 9 + 4)
    assert np.isnan(letter_error_rate([("", "a")]))


def test_the_constant_answer_is_that_of_the_plain_search() -> None:
    rng = np.random.default_rng(4)
    texts = ["".join(rng.choice(list("ab c"), rng.integers(0, 12))) for _ in range(7)]

    def edits(answer: str) -> int:
        return sum(oracles.edits(text, answer) for text in texts)

    expected, beam = "", [""]
    while True:
        # Sorting keeps the order of those that are as good.
        beam = sorted((one + letter for one in beam for letter in " abc"), key=edits)[:BEAM]
        if edits(beam[0]) >= edits(expected):
            break
        expected = beam[0]
    assert len(expected) > 3
    assert constant_answer(texts) == expected
    assert constant_error(texts) == edits(expected) / sum(map(len, texts))


def test_constant_answers_to_texts_that_leave_no_choice() -> None:
    assert constant_answer(["see"] * 3) == "see" and constant_error(["see"]) == 0.0
    assert constant_answer([""]) == constant_answer([]) == ""
