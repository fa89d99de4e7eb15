"""The ONNX file: normalisation inside, any batch, and what is said where packages are missing."""

import importlib.util

import pytest
import torch

from amt_mm.apis import onnx_encoder
from amt_mm.apis.encoder import load_encoder
from amt_mm.apis.export import export
from amt_mm.errors import InputError

SIZE = 40


def test_onnxruntime_computes_the_same_from_pixels(checkpoint, tmp_path, monkeypatch):
    onnx = pytest.importorskip('onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    lines = export(checkpoint, 'onnx', tmp_path / 'out')
    assert any(line.startswith('check: onnxruntime agrees') for line in lines)
    path = tmp_path / 'out/model.onnx'
    assert {part.version for part in onnx.load(path).opset_import if not part.domain} == {18}
    pixels = torch.randint(0, 256, (5, 3, SIZE, SIZE)).float()
    session = onnxruntime.InferenceSession(str(path))
    tokens, features = session.run(['tokens', 'features'], {'pixels': pixels.numpy()})
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (
        (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    model = load_encoder(checkpoint).model.eval()
    with torch.no_grad():
        expected = model.backbone((pixels - mean) / std)[-1]
    torch.testing.assert_close(torch.from_numpy(tokens), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.from_numpy(features), expected[:, 1:].mean(1), rtol=0,
                               atol=1e-4)
    monkeypatch.setattr(onnx_encoder, '_TOLERANCE', -1.)
    with pytest.raises(InputError, match='epoch_3.pth: onnxruntime differs from torch by'):
        export(checkpoint, 'onnx', tmp_path / 'other')
    assert not list((tmp_path / 'other').iterdir())


def test_missing_packages_are_named(checkpoint, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *package: (
        None if name == 'onnxscript' else object() if name == 'onnx' else find(name, *package)))
    with pytest.raises(InputError, match='ONNX needs onnxscript: pip install onnxscript'):
        export(checkpoint, 'onnx', tmp_path / 'out')
