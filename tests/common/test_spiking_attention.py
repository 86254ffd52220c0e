import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.layers import SpikingAttention, keys_meet_values_first, spiking_attention

sizes = st.integers(1, 12)


def spikes(*shape):
    return torch.bernoulli(torch.full(shape, 0.5))


@given(tokens=sizes, width=sizes, value_width=sizes)
def test_both_orders_give_the_same_numbers(tokens, width, value_width):
    q, k, v = spikes(2, 3, tokens, width), spikes(2, 3, tokens, width), spikes(2, 3, tokens, value_width)
    expected = torch.einsum("...nd,...md,...me->...ne", q, k, v) * 0.125
    assert torch.equal(spiking_attention(q, k, v, 0.125), expected)


@given(tokens=sizes, width=sizes, value_width=sizes)
def test_the_cheaper_order_is_chosen(tokens, width, value_width):
    keys_first, queries_first = 2 * tokens * width * value_width, tokens * tokens * (width + value_width)
    assert keys_meet_values_first(tokens, width, value_width) == (keys_first <= queries_first)


@pytest.mark.parametrize("tokens, width", [(4, 16), (16, 4)])
def test_gradients_agree_whatever_the_order(tokens, width):
    operands = [spikes(1, tokens, width).double().requires_grad_() for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *qkv: spiking_attention(*qkv, 0.125), operands)


def test_module_shows_its_scale():
    assert repr(SpikingAttention(0.125)) == "SpikingAttention(scale=0.125)"
