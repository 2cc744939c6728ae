import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equimodal.errors import InputError
from equimodal.nn import SequenceEncoder, Sequences


def make_encoder(**options):
    torch.manual_seed(0)
    return SequenceEncoder(3, channels=8, out_features=6, **options)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    padding=st.integers(0, 9),
    content=st.sampled_from([0.0, 1e30, -5.0, float("nan"), float("inf")]),
    kernel_size=st.sampled_from([1, 3, 5, 9]),
)
def test_amount_and_content_of_the_padding_have_no_influence(lengths, padding, content, kernel_size):
    encoder = make_encoder(kernel_size=kernel_size)
    sequences = [torch.randn(length, 3) for length in lengths]
    values = torch.full((len(lengths), max(lengths) + padding, 3), content)
    for row, sequence in zip(values, sequences, strict=True):
        row[: len(sequence)] = sequence
    values.requires_grad_()
    features = encoder(Sequences(values, torch.tensor(lengths)))
    alone = torch.cat([encoder(sequence.unsqueeze(0)) for sequence in sequences])
    torch.testing.assert_close(features, alone)
    features.sum().backward()
    assert values.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_equals_a_plain_computation_on_one_sequence():
    encoder = make_encoder()
    value = torch.randn(9, 3)
    hidden = value.T
    for convolution in encoder.convolutions:
        padded = torch.cat([torch.zeros(len(hidden), 2), hidden, torch.zeros(len(hidden), 2)], dim=1)
        steps = [(convolution.weight * padded[:, t : t + 5]).sum(dim=(1, 2)) + convolution.bias for t in range(9)]
        hidden = torch.stack(steps, dim=1).clamp(min=0)
    expected = encoder.linear(torch.cat([hidden.mean(dim=1), hidden.max(dim=1).values])).clamp(min=0)
    torch.testing.assert_close(encoder(value.unsqueeze(0))[0], expected)


def test_a_plain_tensor_has_full_length_and_a_plain_tuple_will_do():
    encoder = make_encoder()
    values, lengths = torch.randn(2, 7, 3), torch.tensor([7, 7])
    assert torch.equal(encoder(values), encoder(Sequences(values, lengths)))
    assert torch.equal(encoder((values, torch.tensor([7, 99]))), encoder(values))  # a length beyond the end is the end


def test_an_empty_sequence_is_finite():
    encoder = make_encoder()
    values = torch.full((2, 4, 3), float("nan"))
    assert encoder(Sequences(values, torch.tensor([0, 0]))).isfinite().all()


def test_the_order_of_steps_matters():
    encoder = make_encoder()
    values = torch.randn(1, 9, 3)
    assert not torch.allclose(encoder(values), encoder(values.flip(1)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(2, 7), r"expects \[batch, time, 3\] and was given shape \[2, 7\]"),
        (torch.zeros(2, 7, 4), r"expects \[batch, time, 3\] and was given shape \[2, 7, 4\]"),
        (torch.zeros(2, 0, 3), r"given shape \[2, 0, 3\]"),
        (Sequences(torch.zeros(2, 7, 3), torch.ones(2)), r"lengths have shape \[2\] and type torch.float32"),
        (Sequences(torch.zeros(2, 7, 3), torch.ones(2, dtype=torch.bool)), "type torch.bool"),
        (Sequences(torch.zeros(2, 7, 3), torch.ones(3, dtype=torch.int64)), r"give integers of shape \[batch\] = \[2\]"),
    ],
)
def test_input_of_another_shape_is_reported(value, message):
    with pytest.raises(InputError, match=message):
        make_encoder()(value)


def test_padding_a_list_keeps_lengths():
    padded = Sequences.pad([torch.ones(2, 3), torch.ones(4, 3)])
    assert padded.lengths.tolist() == [2, 4]
    assert padded.values.sum() == 18
