"""The program of torch.export: normalisation inside, any batch, no part of this package."""

import subprocess
import sys

import pytest
import torch
from conftest import save_checkpoint
from torch import nn

from amt_mm.apis import torch_encoder
from amt_mm.apis.encoder import load_encoder
from amt_mm.apis.export import export
from amt_mm.errors import InputError
from amt_mm.models import RegisterViT

SIZE = 40
RUN = '''
import sys, torch
pixels = torch.load(sys.argv[2])
torch.save(torch.export.load(sys.argv[1]).module()(pixels), sys.argv[3])
assert not [name for name in sys.modules if name.startswith(('amt_mm', 'mmpretrain'))]
'''


def expected(checkpoint, pixels, image_size=None):
    """Tokens and their mean, of images that are normalised by hand."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (
        (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    model = load_encoder(checkpoint, image_size).model.eval()
    with torch.no_grad():
        tokens = model.backbone((pixels - mean) / std)[-1]
    return tokens, tokens[:, 1:].mean(dim=1)


@pytest.mark.slow
@pytest.mark.parametrize('rotary', [False, True], ids=['added', 'rotary'])
def test_registers_take_any_batch(tmp_path, rotary):
    backbone = dict(type='amt_mm.RegisterViT', img_size=SIZE, patch_size=8, arch=dict(
        embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48))
    vit = RegisterViT(backbone['arch'], SIZE, 8, num_registers=2, rotary=rotary)
    save_checkpoint(tmp_path / 'a.pth', nn.ModuleDict(dict(backbone=vit)).state_dict(),
                    model=dict(type='amt_mm.IBOT', backbone=backbone))
    export(tmp_path / 'a.pth', 'torch', tmp_path / 'out')
    pixels = torch.randint(0, 256, (5, 3, SIZE, SIZE)).float()
    tokens, features = torch.export.load(tmp_path / 'out/model.pt2').module()(pixels)
    wanted, _ = expected(tmp_path / 'a.pth', pixels)
    torch.testing.assert_close(tokens, wanted, rtol=0, atol=1e-5)
    assert torch.equal(features, tokens[:, 0])


@pytest.mark.slow
@pytest.mark.parametrize('image_size', [None, 56])
def test_the_program_computes_the_same_from_pixels(checkpoint, tmp_path, image_size):
    lines = export(checkpoint, 'torch', tmp_path / 'out', image_size)
    side = image_size or SIZE
    assert lines[1] == f'input: pixels (batch, 3, {side}, {side}), fp32 in 0..255, RGB'
    program = torch.export.load(tmp_path / 'out/model.pt2').module()
    for batch in (1, 5):
        pixels = torch.randint(0, 256, (batch, 3, side, side)).float()
        for found, wanted in zip(program(pixels), expected(checkpoint, pixels, image_size),
                                 strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    content = (tmp_path / 'out/model.pt2').read_bytes()
    assert str(torch_encoder.__file__.rpartition('/')[0]).encode() not in content


@pytest.mark.slow
def test_another_result_is_refused(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(torch_encoder, '_TOLERANCE', -1.)
    with pytest.raises(InputError, match='epoch_3.pth: the exported program differs from the'):
        export(checkpoint, 'torch', tmp_path / 'out')
    assert not list((tmp_path / 'out').iterdir())


@pytest.mark.slow
def test_it_runs_without_the_package(checkpoint, tmp_path):
    export(checkpoint, 'torch', tmp_path)
    pixels = torch.randint(0, 256, (3, 3, SIZE, SIZE)).float()
    torch.save(pixels, tmp_path / 'pixels.pt')
    subprocess.run([sys.executable, '-c', RUN, *(
        str(tmp_path / name) for name in ('model.pt2', 'pixels.pt', 'found.pt'))], check=True)
    found = torch.load(tmp_path / 'found.pt')
    torch.testing.assert_close(found[0], expected(checkpoint, pixels)[0], rtol=0, atol=1e-5)
