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


def test_int8(checkpoint, tmp_path):
    onnx = pytest.importorskip('onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    export(checkpoint, 'onnx', tmp_path / 'fp32')
    lines = export(checkpoint, 'onnx', tmp_path / 'int8', int8=True)
    assert any('check: features in 8 bits have a cosine of' in line for line in lines)
    files = [tmp_path / kind / 'model.onnx' for kind in ('fp32', 'int8')]
    kinds = [node.op_type for node in onnx.load(files[1]).graph.node]
    # Four linear layers in each of two blocks; products within attention stay as they are.
    assert kinds.count('MatMulInteger') == 8 and kinds.count('MatMul') == 4
    pixels = torch.randint(0, 256, (5, 3, SIZE, SIZE)).float().numpy()
    whole, rounded = (torch.from_numpy(onnxruntime.InferenceSession(str(file)).run(
        ['features'], {'pixels': pixels})[0]) for file in files)
    assert not torch.equal(whole, rounded)
    assert torch.cosine_similarity(whole, rounded).min() > .999
    assert [file.name for file in (tmp_path / 'int8').iterdir()] == ['model.onnx']


def test_int8_needs_onnxruntime(checkpoint, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *package: (
        None if name == 'onnxruntime' else object() if name.startswith('onnx')
        else find(name, *package)))
    with pytest.raises(InputError, match='ONNX needs onnxruntime: pip install onnxruntime'):
        export(checkpoint, 'onnx', tmp_path / 'out', int8=True)


@pytest.mark.parametrize('to', ['timm', 'transformers', 'torch'])
def test_int8_is_for_onnx(checkpoint, tmp_path, to):
    with pytest.raises(InputError, match=f'--int8 is for --to onnx, not {to}'):
        export(checkpoint, to, tmp_path / 'out', int8=True)
