"""Products by oneDNN: torch's result, weights and gradients."""

import pytest
import torch
from torch import nn

from fas_core.encoders.products import AVAILABLE, OneDNNLinear, use_onednn


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 24), (1, 33, 24), (24,), (0, 24)])
def test_result_is_torchs(bias, shape):
    layer = nn.Linear(24, 10, bias=bias)
    rows = torch.randn(shape)
    expected = layer(rows)
    with torch.no_grad():
        found = use_onednn(layer)(rows)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-5)


def test_rows_may_lie_apart_in_memory():
    layer = OneDNNLinear(24, 10)
    rows = torch.randn(24, 7).T
    with torch.no_grad():
        torch.testing.assert_close(layer(rows), layer(rows.contiguous()), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not AVAILABLE, reason="this torch is without oneDNN")
def test_onednn_computes_it(monkeypatch):
    layer = OneDNNLinear(24, 10)
    monkeypatch.setattr(nn.Linear, "forward", lambda *_: pytest.fail("torch's own product"))
    with torch.no_grad():
        assert layer(torch.randn(7, 24)).shape == (7, 10)


def test_gradients_flow():
    layer = OneDNNLinear(24, 10)
    rows = torch.randn(7, 24, requires_grad=True)
    layer(rows).sum().backward()
    torch.testing.assert_close(rows.grad, layer.weight.detach().sum(0).expand(7, 24))


def test_other_types_are_torchs():
    layer = OneDNNLinear(24, 10)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(7, 24)).dtype == torch.bfloat16
    with torch.no_grad():
        assert layer.double()(torch.randn(7, 24).double()).dtype == torch.float64


def test_names_weights_and_subclasses_stay():
    class Own(nn.Linear):
        pass

    module = nn.Sequential(nn.Linear(4, 4), Own(4, 4))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert use_onednn(module) is module
    assert isinstance(module[0], OneDNNLinear) and type(module[1]) is Own
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in before.items())
