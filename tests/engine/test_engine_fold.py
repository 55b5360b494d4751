"""The algebra of the fast decoder, piece by piece, against the convolutions that it replaces."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from voxtell_dicom.engine.fold import Layout, Triple, add_bias, fold_bias, fold_weights
from voxtell_dicom.engine.kernels.twin import Features, TorchOps

STRIDES = [(2, 2, 2), (1, 2, 2), (1, 1, 1), (2, 1, 2)]
LOW = (3, 4, 5)


@pytest.mark.parametrize("low", [LOW, (1, 2, 3)], ids=str)
@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_two_convolutions_are_one(stride: Triple, low: Triple) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 6, *low, generator=generator)
    up = torch.randn(6, 5, *stride, generator=generator)
    conv = torch.randn(7, 5, 3, 3, 3, generator=generator)
    bias = torch.randn(5, generator=generator)
    skip = torch.randn(7, *(n * s for n, s in zip(low, stride, strict=True)), generator=generator)
    expected = F.conv3d(F.conv_transpose3d(x, up, bias, stride=stride), conv, padding=1)[0] + skip
    layout = Layout(low, stride)
    below = Features(x[0].permute(1, 2, 3, 0).reshape(1, -1, 6), Layout(low, (1, 1, 1)))
    half = skip.clone()
    add_bias(half, fold_bias(bias, conv))
    weights = fold_weights(up, conv, stride)
    rows, (total, squares) = TorchOps().upconv(
        below, weights.reshape(1, -1, *weights.shape[4:]), layout.rows(half.permute(1, 2, 3, 0)), layout
    )
    rows, total, squares = rows[0], total[0], squares[0]
    got = layout.inside(layout.interleave(rows)).permute(3, 0, 1, 2)
    assert got.shape == expected.shape
    assert torch.allclose(got, expected, atol=1e-4)
    assert torch.allclose(total.view(-1, 7).sum(0).float(), expected.flatten(1).sum(1), atol=1e-2)
    assert torch.allclose(squares.view(-1, 7).sum(0).float(), expected.flatten(1).square().sum(1), rtol=1e-4)
    # What the next stage gets is the same, with a border of zeros.
    assert torch.equal(layout.padded(rows), F.pad(got.permute(1, 2, 3, 0), (0, 0, 1, 1, 1, 1, 1, 1)))


@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_rows_there_and_back(stride: Triple) -> None:
    layout = Layout(LOW, stride)
    fine = torch.randn(*layout.fine, 3)
    rows = layout.rows(fine)
    assert torch.equal(layout.inside(layout.interleave(rows)), fine)
    noisy = rows + 1
    layout.clear_outside(noisy)
    inside = layout.is_inside.view(-1, 1)
    assert torch.equal(noisy.view(-1, 3), torch.where(inside, rows.view(-1, 3) + 1, torch.zeros(())))
    assert int(inside.sum()) == layout.fine[0] * layout.fine[1] * layout.fine[2]
