"""The transformer that both retrievers share."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here B rows, T tokens, D width.

import pytest
import torch
from torch import Tensor, nn

from shelfcode.retrieval.transformer import Shape, Transformer

ROWS, LENGTH = 2, 7
POSITION_BT = torch.arange(LENGTH).expand(ROWS, LENGTH)


@pytest.fixture
def transformer() -> Transformer:
    torch.manual_seed(0)
    model = Transformer(Shape(width=16, layers=2, heads=2, hidden=24)).eval()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.4)
    return model


@pytest.fixture
def x_BTD() -> Tensor:
    return torch.randn((ROWS, LENGTH, 16), generator=torch.Generator().manual_seed(1))


def changed_at(x_BTD: Tensor, place: int) -> Tensor:
    other = x_BTD.clone()
    other[:, place] += 1
    return other


@torch.no_grad()
def test_a_token_sees_itself_and_those_before_it(transformer: Transformer, x_BTD: Tensor) -> None:
    before = transformer(x_BTD, POSITION_BT)
    after = transformer(changed_at(x_BTD, 3), POSITION_BT)
    moved_T = (after - before).abs().amax((0, 2))
    assert moved_T[:3].max() < 1e-6
    assert moved_T[3:].min() > 1e-3


@torch.no_grad()
def test_padding_at_the_end_changes_nothing(transformer: Transformer, x_BTD: Tensor) -> None:
    alone = transformer(x_BTD[:, :5], POSITION_BT[:, :5])
    torch.testing.assert_close(transformer(x_BTD, POSITION_BT)[:, :5], alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_mask_says_what_is_seen_in_both_directions(transformer: Transformer, x_BTD: Tensor) -> None:
    mask = torch.ones((ROWS, 1, 1, LENGTH), dtype=torch.bool)
    mask[..., 5] = False
    before = transformer(x_BTD, POSITION_BT, mask)
    seen_T, unseen_T = ((transformer(changed_at(x_BTD, place), POSITION_BT, mask) - before).abs().amax((0, 2)) for place in (6, 5))
    assert seen_T.min() > 1e-3
    assert unseen_T[[0, 1, 2, 3, 4, 6]].max() < 1e-6


@torch.no_grad()
def test_positions_count_by_their_distance_alone(transformer: Transformer, x_BTD: Tensor) -> None:
    here = transformer(x_BTD, POSITION_BT)
    torch.testing.assert_close(transformer(x_BTD, POSITION_BT + 11), here, atol=1e-4, rtol=1e-4)
    assert (transformer(x_BTD, POSITION_BT * 2) - here).abs().max() > 1e-2


def test_a_rotation_turns_pairs_of_numbers_by_the_position() -> None:
    cosine, sine = Transformer(Shape(width=8, layers=0, heads=2, hidden=1)).rotation(torch.tensor([[0, 3]]), torch.float32)
    angle = torch.tensor([0.0, 0.0, 0.0, 0.0, 3.0, 0.03, 3.0, 0.03]).view(1, 1, 2, 4)  # 10000 ** -(0 / 2) and 10000 ** -(1 / 2)
    torch.testing.assert_close(cosine, angle.cos())
    torch.testing.assert_close(sine, angle.sin())


@torch.no_grad()
def test_keys_and_values_are_those_that_later_tokens_find(transformer: Transformer, x_BTD: Tensor) -> None:
    h_BTD, kept = transformer.read(x_BTD, POSITION_BT)
    torch.testing.assert_close(h_BTD, transformer(x_BTD, POSITION_BT))
    assert kept.keys.shape == kept.values.shape == (2, ROWS, 2, LENGTH, 8)
    block = transformer.layers[0]
    rotation = transformer.rotation(POSITION_BT, x_BTD.dtype)
    _, k, v = block.self_attn.project(block.input_layernorm(x_BTD), rotation)
    torch.testing.assert_close(kept.keys[0], k)
    torch.testing.assert_close(kept.values[0], v)


@torch.no_grad()
def test_dropout_is_for_training_alone(x_BTD: Tensor) -> None:
    torch.manual_seed(0)
    model = Transformer(Shape(width=16, layers=1, heads=2, hidden=24), dropout=0.5)
    assert not torch.equal(model(x_BTD, POSITION_BT), model(x_BTD, POSITION_BT))
    model.eval()
    assert torch.equal(model(x_BTD, POSITION_BT), model(x_BTD, POSITION_BT))
