"""export: the other library loads the files and computes the same."""

import json

import pytest
import torch
from conftest import save_checkpoint
from safetensors.torch import load_file
from torch import nn

from amt_mm.apis.encoder import load_encoder
from amt_mm.apis.export import export
from amt_mm.checkpoints import convert, write_checkpoint
from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan
from amt_mm.models import RegisterViT
from amt_mm.models.recorded_mae import build_mae

SIZE, PATCH = 40, 8
BACKBONE = dict(type='amt_mm.AMTMAEViT', img_size=SIZE, patch_size=PATCH,
                arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48))


def saved(path, model, backbone=BACKBONE, kind='AMTMAE', **neck):
    return save_checkpoint(path, model.state_dict(), model=dict(
        type=f'amt_mm.{kind}', backbone=backbone, neck=dict(decoder_num_heads=2, **neck),
        head=dict(norm_pix=True)))


@pytest.fixture
def checkpoint(tmp_path, toy_mae):
    return saved(tmp_path / 'epoch_3.pth', toy_mae(backbone=dict(img_size=SIZE)))


def encoded(checkpoint):
    """Images, and all tokens of the encoder as evaluation loads it."""
    loaded = load_encoder(checkpoint)
    images = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        loaded.model.eval()
        return images, loaded.model.backbone(images)[-1]


def close(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def returns(path, checkpoint):
    """A file under other names, brought back, has the bits of the checkpoint's encoder."""
    back = convert(load_file(path), 'mmpretrain').state
    own = {name: value for name, value in torch.load(checkpoint)['state_dict'].items()
           if name in back}
    assert own.keys() == back.keys() and len(own) >= 28
    assert all(torch.equal(own[name], value) for name, value in back.items())


@torch.no_grad()
def test_timm_loads_the_folder(checkpoint, tmp_path):
    timm = pytest.importorskip('timm')
    line, = export(checkpoint, 'timm', tmp_path / 'out')
    assert line == f"load: timm.create_model('local-dir:{tmp_path}/out', pretrained=True)"
    model = timm.create_model(f'local-dir:{tmp_path}/out', pretrained=True).eval()
    images, tokens = encoded(checkpoint)
    close(model.forward_features(images), tokens)
    # The mean of the normalised patch tokens, as evaluation takes it for MAE.
    close(model(images), tokens[:, 1:].mean(dim=1))
    data = timm.data.resolve_model_data_config(model)
    assert data['input_size'] == [3, SIZE, SIZE] and data['interpolation'] == 'bicubic'
    close(torch.tensor(data['mean']), torch.tensor([.485, .456, .406]))
    close(torch.tensor(data['std']), torch.tensor([.229, .224, .225]))
    # 256 to 224 pixels, in proportion: 46 to 40.
    assert round(SIZE / data['crop_pct']) == 46
    returns(tmp_path / 'out/model.safetensors', checkpoint)


@pytest.mark.slow
@torch.no_grad()
def test_timm_loads_a_standard_one_by_its_name_and_layer_scale(tmp_path):
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    theirs = timm.create_model('vit_tiny_patch16_224', num_classes=0, img_size=48,
                               init_values=.3).eval()
    write_checkpoint(tmp_path / 'a.safetensors', theirs.state_dict())
    export(tmp_path / 'a.safetensors', 'timm', tmp_path / 'out', image_size=48)
    assert json.loads((tmp_path / 'out/config.json').read_text())['architecture'] == (
        'vit_tiny_patch16_224')
    for model in (timm.create_model(f'local-dir:{tmp_path}/out', pretrained=True),
                  timm.create_model('vit_tiny_patch16_224', num_classes=0, img_size=48,
                                    init_values=1.,
                                    checkpoint_path=tmp_path / 'out/model.safetensors')):
        images = torch.randn(2, 3, 48, 48)
        close(model.eval()(images), theirs(images))


@torch.no_grad()
def test_transformers_loads_encoder_and_decoder(checkpoint, tmp_path):
    transformers = pytest.importorskip('transformers')
    export(checkpoint, 'transformers', tmp_path / 'out')
    model, said = transformers.ViTModel.from_pretrained(
        tmp_path / 'out', add_pooling_layer=False, output_loading_info=True)
    assert not any(said.values())
    images, tokens = encoded(checkpoint)
    close(model.eval()(images).last_hidden_state, tokens)
    returns(tmp_path / 'out/model.safetensors', checkpoint)
    # What their own code writes is read.
    model.save_pretrained(tmp_path / 'again')
    returns(tmp_path / 'again/model.safetensors', checkpoint)

    mae, said = transformers.ViTMAEForPreTraining.from_pretrained(
        tmp_path / 'out/mae', output_loading_info=True)
    assert not any(said.values()) and mae.config.norm_pix_loss
    returns(tmp_path / 'out/mae/model.safetensors', checkpoint)
    mae.save_pretrained(tmp_path / 'mae_again')
    returns(tmp_path / 'mae_again/model.safetensors', checkpoint)
    noise = torch.rand(3, 25)
    # MAE keeps the patches of the least noise.
    found = mae.eval()(images, noise=noise)
    order = noise.argsort(dim=1)
    loaded = load_encoder(checkpoint)
    ours = build_mae(loaded.content, loaded.pretraining.backbone, SIZE)
    plan = MaskPlan(masked=order[:, 6:], thrown=order[:, :0], visible=order[:, :6], grid=(5, 5))
    patches = mae.patchify(images)
    predicted = ours.neck(ours.backbone.encode(patches, plan), plan)
    index = plan.masked[..., None].expand_as(predicted)
    close(found.logits.gather(1, index), predicted)
    target = ours.head.normalize_patches(patches).gather(1, index)
    torch.testing.assert_close(found.loss, (predicted - target).square().mean(), rtol=1e-3, atol=0)


def test_transformers_prepares_images_as_evaluation_does(checkpoint, tmp_path):
    transformers = pytest.importorskip('transformers')
    import numpy as np
    from PIL import Image
    export(checkpoint, 'transformers', tmp_path / 'out')
    chance = np.random.default_rng(0)
    photo = np.kron(chance.integers(0, 255, (6, 9, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / 'a.png')
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / 'out')
    theirs = processor(Image.open(tmp_path / 'a.png'), return_tensors='pt')['pixel_values']
    loaded = load_encoder(checkpoint)
    from mmengine.dataset import Compose, default_collate
    batch = default_collate([Compose(loaded.pipeline)({'img_path': str(tmp_path / 'a.png')})])
    ours = loaded.model.data_preprocessor(batch)['inputs']
    assert theirs.shape == ours.shape == (1, 3, SIZE, SIZE)
    # Two libraries scale: one level in 255, seldom more.
    assert (theirs - ours).abs().mean() < 1 / 255 / .22


@pytest.mark.slow
def test_what_transformers_has_no_place_for(tmp_path, toy_mae):
    skipping = {**BACKBONE, 'skip_layers': (0, )}
    model = toy_mae(backbone=dict(img_size=SIZE, skip_layers=(0, )))
    lines = export(saved(tmp_path / 'a.pth', model, skipping), 'transformers', tmp_path / 'a')
    assert 'note: without decoder: it reads several blocks' in lines[1]
    assert not (tmp_path / 'a/mae').exists()
    crossing = toy_mae(backbone=dict(img_size=SIZE), neck=dict(cross_attention=True))
    lines = export(saved(tmp_path / 'x.pth', crossing, cross_attention=True),
                   'transformers', tmp_path / 'x')
    assert lines[1:] == ["note: without decoder: transformers' has no cross-attention"]
    scaled = toy_mae(backbone=dict(img_size=SIZE, layer_scale_init_value=.1))
    lines = export(saved(tmp_path / 'b.pth', scaled), 'transformers', tmp_path / 'b')
    assert lines == [f"load: transformers.Dinov2Model.from_pretrained('{tmp_path}/b')",
                     'note: without decoder: the MAE of transformers has no LayerScale']
    state = {name: value for name, value in model.state_dict().items() if 'cls_token' not in name}
    state['backbone.pos_embed'] = state['backbone.pos_embed'][:, 1:]
    torch.save(dict(torch.load(tmp_path / 'a.pth'), state_dict=state), tmp_path / 'c.pth')
    with pytest.raises(InputError, match='c.pth: an encoder without .CLS. has no counterpart'):
        export(tmp_path / 'c.pth', 'transformers', tmp_path / 'c')


@pytest.mark.slow
@pytest.mark.parametrize('gated', [False, True], ids=['plain', 'gated'])
@pytest.mark.parametrize('registers', [0, 2])
@torch.no_grad()
def test_layer_scale_and_registers(tmp_path, registers, gated):
    checkpoint, images, tokens = random_vit(tmp_path, registers, gated)
    timm = pytest.importorskip('timm')
    export(checkpoint, 'timm', tmp_path / 'timm')
    found = timm.create_model(f'local-dir:{tmp_path}/timm', pretrained=True).eval()
    close(without_registers(found.forward_features(images), registers), tokens)
    transformers = pytest.importorskip('transformers')
    line, = export(checkpoint, 'transformers', tmp_path / 'hf')
    kind = 'Dinov2WithRegistersModel' if registers else 'Dinov2Model'
    assert line == f"load: transformers.{kind}.from_pretrained('{tmp_path}/hf')"
    found = transformers.AutoModel.from_pretrained(tmp_path / 'hf').eval()
    assert type(found).__name__ == kind
    close(without_registers(found(images).last_hidden_state, registers), tokens)


@pytest.mark.parametrize('gated', [False, True], ids=['plain', 'gated'])
@torch.no_grad()
def test_rotary_positions(tmp_path, gated):
    checkpoint, images, tokens = random_vit(tmp_path, 3, gated, rotary=True)
    timm = pytest.importorskip('timm')
    export(checkpoint, 'timm', tmp_path / 'timm')
    found = timm.create_model(f'local-dir:{tmp_path}/timm', pretrained=True).eval()
    close(without_registers(found.forward_features(images), 3), tokens)
    close(found(images), tokens[:, 0])
    line, = export(checkpoint, 'transformers', tmp_path / 'hf')
    assert line == f"load: transformers.DINOv3ViTModel.from_pretrained('{tmp_path}/hf')"
    transformers = pytest.importorskip('transformers')
    found, said = transformers.AutoModel.from_pretrained(tmp_path / 'hf', output_loading_info=True)
    assert type(found).__name__ == 'DINOv3ViTModel' and not any(said.values())
    close(without_registers(found.eval()(images).last_hidden_state, 3), tokens)


def random_vit(folder, registers, gated, rotary=False):
    """A checkpoint of an encoder with LayerScale; images, and their tokens."""
    arch = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)
    backbone = dict(type='amt_mm.RegisterViT', arch=arch, img_size=SIZE, patch_size=PATCH)
    model = RegisterViT(
        arch, SIZE, PATCH, layer_scale_init_value=.5, num_registers=registers, rotary=rotary,
        layer_cfgs=dict(ffn_type='swiglu_fused' if gated else 'origin'), out_type='raw',
        norm_cfg=dict(type='LN', eps=1e-5 if rotary else 1e-6))
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * .2)
    if rotary:
        for block in model.layers:
            # DINOv3 has no bias for keys.
            block.attn.qkv.bias[24:48] = 0
    checkpoint = saved(folder / 'a.pth', nn.ModuleDict(dict(backbone=model)), backbone, 'IBOT')
    images = torch.randn(2, 3, SIZE, SIZE)
    model.eval()
    return checkpoint, images, model(images)[0]


def without_registers(tokens, registers):
    return torch.cat([tokens[:, :1], tokens[:, 1 + registers:]], dim=1)


@pytest.mark.slow
def test_what_lies_beside_an_encoder_does_not_outlive_it(checkpoint, tmp_path):
    out = tmp_path / 'out'
    export(checkpoint, 'transformers', out)
    export(checkpoint, 'transformers', out, force=True)
    assert (out / 'mae/model.safetensors').exists()
    content = torch.load(checkpoint)
    content['state_dict'] = {name: value for name, value in content['state_dict'].items()
                             if name.startswith('backbone.')}
    torch.save(content, tmp_path / 'alone.pth')
    (out / 'mae/own.txt').write_text('text')
    for kept in (['own.txt'], []):
        export(tmp_path / 'alone.pth', 'transformers', out, force=True)
        assert [file.name for file in out.glob('mae/*')] == kept
        (out / 'mae/own.txt').unlink(missing_ok=True)
    assert not (out / 'mae').exists()
    export(checkpoint, 'transformers', out, force=True)
    export(checkpoint, 'timm', out, force=True)
    assert sorted(file.name for file in out.iterdir()) == ['config.json', 'model.safetensors']


@pytest.mark.parametrize(('to', 'name'), [
    ('timm', 'config.json'), ('transformers', 'config.json'),
    ('transformers', 'preprocessor_config.json'), ('transformers', 'mae/config.json'),
    ('onnx', 'model.onnx'), ('torch', 'model.pt2')])
def test_a_file_of_somebody_else_is_not_replaced(checkpoint, tmp_path, to, name):
    file = tmp_path / 'out' / name
    file.parent.mkdir(parents=True)
    file.write_text('mine')
    with pytest.raises(InputError, match=f'out/{name} exists: .* --force'):
        export(checkpoint, to, tmp_path / 'out')
    assert [path for path in tmp_path.glob('out/**/*') if path.is_file()] == [file]
    assert file.read_text() == 'mine'


def test_files_are_replaced_by_force_only(checkpoint, tmp_path):
    export(checkpoint, 'timm', tmp_path / 'out')
    with pytest.raises(InputError, match='model.safetensors exists: .* --force'):
        export(checkpoint, 'timm', tmp_path / 'out')
    export(checkpoint, 'timm', tmp_path / 'out', force=True)
