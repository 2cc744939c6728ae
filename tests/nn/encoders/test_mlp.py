import pytest
import torch

from equimodal.errors import InputError
from equimodal.nn import MLP


def test_flattens_and_keeps_every_layer_behind_a_relu():
    torch.manual_seed(0)
    encoder = MLP(12, hidden=[5, 4], out_features=3)
    value = torch.randn(7, 3, 2, 2)
    expected = value.flatten(1)
    for layer in encoder.layers:
        if isinstance(layer, torch.nn.Linear):
            expected = (expected @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(encoder(value), expected)
    assert torch.equal(encoder(value.flatten(1)), encoder(value))


def test_without_hidden_layers_it_is_one_layer():
    assert sum(p.numel() for p in MLP(12, hidden=(), out_features=3).parameters()) == 12 * 3 + 3


def test_dropout_acts_in_training_on_hidden_layers_alone():
    torch.manual_seed(0)
    encoder = MLP(12, dropout=0.5)
    value = torch.randn(64, 12)
    assert not torch.equal(encoder(value), encoder(value))
    assert sum(isinstance(layer, torch.nn.Dropout) for layer in encoder.layers) == 1
    encoder.eval()
    assert torch.equal(encoder(value), encoder(value))


@pytest.mark.parametrize("shape", [(4, 11), (4, 1, 13), (12,)])
def test_another_number_of_values_is_reported(shape):
    with pytest.raises(InputError, match="MLP expects 12 numbers per sample"):
        MLP(12)(torch.zeros(shape))
