"""What a checkpoint of six bands tells evaluation, embed, view and export."""

import json

import numpy as np
import pytest
import tifffile
import torch
from conftest import save_checkpoint
from deep_images import values, write_bands

from amt_mm.apis.embed import embed
from amt_mm.apis.encoder import load_encoder
from amt_mm.apis.evaluation import adapt_config, find_config
from amt_mm.apis.export import export
from amt_mm.apis.judging import build_model
from amt_mm.apis.view import view
from amt_mm.checkpoints.describe import describe
from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.config.image_size import pipelines
from amt_mm.config.pixels import read_pixels_config
from amt_mm.errors import InputError

SIZE, PATCH, BANDS = 40, 8, 6
BACKBONE = dict(type='amt_mm.AMTMAEViT', img_size=SIZE, patch_size=PATCH, in_channels=BANDS,
                arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48))
PIXELS = dict(channels=BANDS, window=(0, 4000), mean=[100.0] * BANDS, std=[50.0] * BANDS)


@pytest.fixture
def pixels():
    return PIXELS


@pytest.fixture
def checkpoint(tmp_path, toy_mae, pixels):
    model = toy_mae(backbone=dict(img_size=SIZE, in_channels=BANDS))
    return save_checkpoint(tmp_path / 'epoch_3.pth', model.state_dict(), pixels=pixels, model=dict(
        type='amt_mm.AMTMAE', backbone=BACKBONE, neck=dict(decoder_num_heads=2),
        head=dict(norm_pix=True)))


@pytest.fixture
def folder(tmp_path):
    for index in range(5):
        path = tmp_path / 'images' / 'ab'[index % 2] / f'{index}.tif'
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bands(path, values((BANDS, SIZE, SIZE), 'uint16', 4000, seed=index))
    np.save(tmp_path / 'images/a/5.npy', values((BANDS, SIZE, SIZE), 'uint16', 4000, seed=5))
    return tmp_path / 'images'


@pytest.mark.slow
def test_protocols_read_images_alike(checkpoint):
    pretraining = describe(checkpoint)
    for protocol in ('knn', 'linear', 'finetune', 'attentive'):
        config, options = find_config(protocol, 'folder', pretraining)
        cfg = adapt_config(config, pretraining, options)
        assert {pipeline[0].type for pipeline in pipelines(cfg)} == {'amt_mm.LoadPixels'}
        assert cfg.model.backbone.patch_cfg.in_channels == BANDS


@pytest.mark.parametrize('pixels', [dict(PIXELS, pages='frames')])
def test_features_of_frames_are_those_of_files(checkpoint, tmp_path):
    stack = values((4, BANDS, SIZE, SIZE), 'uint16', 4000)
    for name in ('stack', 'files'):
        (tmp_path / name).mkdir()
    tifffile.imwrite(tmp_path / 'stack/a.tif', stack[:3], ome=True, metadata=dict(axes='TCYX'))
    for index, frame in enumerate(stack):
        write_bands(tmp_path / f'files/{index}.tif', frame)
    for name in ('stack', 'files'):
        embed(checkpoint, tmp_path / name, tmp_path / f'{name}.npz', image_size=SIZE, workers=0)
    with np.load(tmp_path / 'stack.npz') as frames, np.load(tmp_path / 'files.npz') as files:
        assert frames['names'].tolist() == ['a.tif#0', 'a.tif#1', 'a.tif#2']
        assert files['names'].tolist() == ['0.tif', '1.tif', '2.tif', '3.tif']
        np.testing.assert_allclose(frames['features'], files['features'][:3], rtol=1e-5, atol=1e-6)
        assert np.ptp(files['features'], axis=0).max() > 1e-3


@pytest.mark.slow
def test_features_are_those_of_the_values_in_the_files(checkpoint, folder, tmp_path):
    embed(checkpoint, folder, tmp_path / 'a.npz', image_size=SIZE, workers=0)
    with np.load(tmp_path / 'a.npz') as file:
        names, found = file['names'].tolist(), torch.from_numpy(file['features'])
    # The short edge is scaled before the centre is cut out: compare through the pipeline's inputs.
    loaded = load_encoder(checkpoint, SIZE)
    assert names == ['a/0.tif', 'a/2.tif', 'a/4.tif', 'a/5.npy', 'b/1.tif', 'b/3.tif']
    raw = torch.from_numpy(values((BANDS, SIZE, SIZE), 'uint16', 4000, seed=5).astype('float32'))
    edge = next(step['scale'] for step in loaded.pipeline if step['type'] == 'ResizeEdge')
    scaled = torch.nn.functional.interpolate(
        raw[None] / 4000 * 255, size=(edge, edge), mode='bicubic', align_corners=False)[0]
    cut = (edge - SIZE) // 2
    inputs = (scaled[None, :, cut:cut + SIZE, cut:cut + SIZE] - 100) / 50
    loaded.model.eval()
    with torch.no_grad():
        wanted = loaded.model.backbone(inputs)[-1][:, 1:].mean(dim=1)
    # OpenCV's bicubic has -.75 where torch has -.75, too; borders differ a little.
    torch.testing.assert_close(found[3:4], wanted, rtol=.02, atol=.02)


@pytest.mark.slow
def test_view_shows_three_of_them(checkpoint, folder, tmp_path):
    page = view(checkpoint, folder, tmp_path / 'page', image_size=SIZE)
    assert page.stat().st_size > 10_000


@pytest.mark.slow
def test_exports_have_six_channels(checkpoint, tmp_path):
    timm = pytest.importorskip('timm')
    export(checkpoint, 'timm', tmp_path / 'timm', image_size=SIZE)
    model = timm.create_model(f'local-dir:{tmp_path / "timm"}', pretrained=True).eval()
    images = torch.randn(2, BANDS, SIZE, SIZE)
    loaded = load_encoder(checkpoint, SIZE)
    loaded.model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model.forward_features(images),
                                   loaded.model.backbone(images)[-1], rtol=0, atol=1e-5)
    said = export(checkpoint, 'torch', tmp_path / 'program', image_size=SIZE)
    assert any(f'pixels (batch, {BANDS}, {SIZE}, {SIZE})' in line for line in said)
    program = torch.export.load(tmp_path / 'program' / 'model.pt2').module()
    assert program(torch.rand(3, BANDS, SIZE, SIZE) * 255)[1].shape == (3, 24)
    export(checkpoint, 'transformers', tmp_path / 'hf', image_size=SIZE)
    assert json.loads((tmp_path / 'hf' / 'config.json').read_text())['num_channels'] == BANDS


def test_a_file_that_does_not_tell_how_images_are_read(tmp_path, toy_mae):
    model = toy_mae(backbone=dict(img_size=SIZE, in_channels=BANDS))
    save_checkpoint(tmp_path / 'a.pth', model.state_dict(),
                    model=dict(type='amt_mm.AMTMAE', backbone=BACKBONE))
    pretraining = describe(tmp_path / 'a.pth')
    config, options = find_config('knn', 'folder', pretraining)
    with pytest.raises(InputError, match='takes 6 channels, but the file does not tell'):
        adapt_config(config, pretraining, options)
    cfg = adapt_config(config, pretraining, {**options, 'overlay.pixels': PIXELS})
    assert load_backbone(build_model(cfg), tmp_path / 'a.pth').missing == ()


def test_an_encoder_of_photographs_is_measured_on_bands(toy_mae, folder, tmp_path):
    backbone = {key: value for key, value in BACKBONE.items() if key != 'in_channels'}
    save_checkpoint(tmp_path / 'photographs.pth',
                    toy_mae(backbone=dict(img_size=SIZE)).state_dict(),
                    model=dict(type='amt_mm.AMTMAE', backbone=backbone))
    (tmp_path / 'pixels.py').write_text(f'overlay = dict(pixels={PIXELS})')
    pretraining = describe(tmp_path / 'photographs.pth')
    config, options = find_config('knn', 'folder', pretraining)
    cfg = adapt_config(config, pretraining, {
        **options, 'overlay.pixels': read_pixels_config(tmp_path / 'pixels.py')})
    model = build_model(cfg)
    report = load_backbone(model, tmp_path / 'photographs.pth')
    assert 'of 3 channels fitted to 6' in str(report)
    (tmp_path / 'none.py').write_text('overlay = dict()')
    with pytest.raises(InputError, match='none.py has no overlay.pixels'):
        read_pixels_config(tmp_path / 'none.py')
