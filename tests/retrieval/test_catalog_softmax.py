import pytest
import torch

from shelfcode.retrieval import catalog_softmax
from shelfcode.retrieval.catalog_softmax import catalog_cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("logits_at_a_time", [60, 10_000])
def test_loss_and_gradients_are_those_of_the_plain_formula(
    monkeypatch: pytest.MonkeyPatch, smoothing: float, logits_at_a_time: int
) -> None:
    monkeypatch.setattr(catalog_softmax, "LOGITS_AT_A_TIME", logits_at_a_time)
    torch.manual_seed(0)
    h, weight, bias, extra = (torch.randn(*shape, requires_grad=True) for shape in ((7, 8), (30, 8), (30,), (9,)))
    at, product = torch.randint(0, 7, (9,)), torch.randint(0, 30, (9,))
    of, target, share = torch.tensor([0, 0, 1, 3, 3, 6]), torch.randint(0, 30, (6,)), torch.rand(6)

    loss = catalog_cross_entropy(h, weight, bias, (extra, at, product), of, target, share, smoothing)
    log_p = (h @ weight.T + bias).index_put((at, product), extra, accumulate=True).log_softmax(-1)
    plain = (share * (-(1 - smoothing) * log_p[of, target] - smoothing * log_p.mean(1)[of])).sum()

    torch.testing.assert_close(loss, plain)
    for ours, expected in zip(*(torch.autograd.grad(value, (h, weight, bias, extra)) for value in (loss, plain)), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
