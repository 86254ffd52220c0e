import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from common.errors import UserError
from common.training import Process, as_is, evaluate_classification, make_loader, mean_over_time
from common.training.evaluation import count_correct

ALONE = Process(0, 1, 0, torch.device("cpu"))


def evaluate(logits, labels, batch_size=3, reduce_output=as_is, model=None, loss_fn=nn.functional.cross_entropy):
    """Evaluate given logits `[N, K]`, by a model that returns its input."""
    loader = make_loader(TensorDataset(logits, labels), batch_size, train=False, process=ALONE)
    return evaluate_classification(model or nn.Identity(), loader, loss_fn, ALONE, reduce_output)


@pytest.fixture
def scores():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(10, 7, dtype=torch.float64, generator=generator)
    return logits, torch.randint(7, (10,), generator=generator)


def test_the_loss_is_the_mean_over_samples_though_the_last_batch_is_smaller(scores):
    assert evaluate(*scores)["loss"] == pytest.approx(nn.functional.cross_entropy(*scores).item(), rel=1e-12)


@pytest.mark.parametrize(("key", "k"), [("acc1", 1), ("acc5", 5)])
def test_accuracies_are_percentages_of_all_samples(scores, key, k):
    logits, labels = scores
    right = sum(label in row.argsort(descending=True)[:k] for row, label in zip(logits, labels, strict=True))
    assert evaluate(*scores)[key] == pytest.approx(100 * right / 10)


def test_there_is_no_top_five_of_four_classes():
    assert "acc5" not in evaluate(torch.eye(4), torch.arange(4))


def test_the_samples_are_counted(scores):
    assert evaluate(*scores)["samples"] == 10


class Repeat(nn.Module):
    """Logits `[B, K]` -> `[T, B, K]` whose time mean is the input."""

    def forward(self, x):
        return torch.stack([x - 1, x + 1])


def test_outputs_over_time_are_reduced_for_the_accuracy(scores):
    def loss_fn(output, labels):
        return nn.functional.cross_entropy(output.mean(0), labels)

    over_time = evaluate(*scores, model=Repeat(), reduce_output=mean_over_time, loss_fn=loss_fn)
    assert over_time == pytest.approx(evaluate(*scores))


def test_the_model_is_evaluated_in_eval_mode(scores):
    logits, labels = scores
    model = nn.Dropout(0.5).train()
    assert evaluate(logits, labels, model=model) == evaluate(logits, labels)


def test_an_empty_test_set_is_an_error():
    with pytest.raises(UserError, match="nothing to evaluate"):
        evaluate(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


def test_of_equal_logits_the_first_counts():
    logits = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    assert int(count_correct(logits, torch.tensor([0, 1, 1]))) == 2
