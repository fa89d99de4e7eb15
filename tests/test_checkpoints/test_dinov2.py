"""DINOv2's names, with and without registers: timm computes the same from the same files."""

import pytest
import torch
from slow_mae import make_plan
from timm.layers import SwiGLUPacked
from timm.models import VisionTransformer as TimmViT
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import nn

from amt_mm.checkpoints import convert, detect_naming, files
from amt_mm.checkpoints.describe import describe
from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.errors import InputError
from amt_mm.masking import patchify
from amt_mm.models import AMTMAEViT, RegisterViT, ViTClassifier

SIZE, PATCH, WIDTH, DEPTH, HEADS = (28, 42), 14, 24, 2, 3
ARCH = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=96)
# The MLP of the giant: two thirds of the width of a plain one, twice.
GATED = {'mlp.w12': (2 * 64, WIDTH), 'mlp.w3': (WIDTH, 64)}


def official(registers, seed=0, gated=False):
    """Random weights under the names and in the shapes of DINOv2's own files."""
    torch.manual_seed(seed)
    state = dict(cls_token=torch.randn(1, 1, WIDTH), mask_token=torch.randn(1, WIDTH),
                 pos_embed=torch.randn(1, 7, WIDTH))
    if registers:
        state['register_tokens'] = torch.randn(1, registers, WIDTH)
    shapes = {'patch_embed.proj': (WIDTH, 3, PATCH, PATCH), 'norm': (WIDTH, )}
    for block in range(DEPTH):
        shapes.update({f'blocks.{block}.{name}': shape for name, shape in {
            'norm1': (WIDTH, ), 'attn.qkv': (3 * WIDTH, WIDTH), 'attn.proj': (WIDTH, WIDTH),
            'norm2': (WIDTH, ),
            **(GATED if gated else {'mlp.fc1': (96, WIDTH), 'mlp.fc2': (WIDTH, 96)})}.items()})
        state[f'blocks.{block}.ls1.gamma'] = torch.rand(WIDTH)
        state[f'blocks.{block}.ls2.gamma'] = torch.rand(WIDTH)
    for name, shape in shapes.items():
        state[f'{name}.weight'] = torch.randn(shape) * .2
        state[f'{name}.bias'] = torch.randn(shape[0]) * .2
    return state


def of_transformers(state, prefix=''):
    """The same under the names of transformers, written out one by one."""
    theirs = {'embeddings.cls_token': state['cls_token'],
              'embeddings.mask_token': state['mask_token'],
              'embeddings.position_embeddings': state['pos_embed']}
    if 'register_tokens' in state:
        theirs['embeddings.register_tokens'] = state['register_tokens']
    for kind in ('weight', 'bias'):
        theirs[f'embeddings.patch_embeddings.projection.{kind}'] = state[f'patch_embed.proj.{kind}']
        theirs[f'layernorm.{kind}'] = state[f'norm.{kind}']
        for number in range(DEPTH):
            block, layer = f'blocks.{number}', f'encoder.layer.{number}'
            joined = state[f'{block}.attn.qkv.{kind}']
            for part, name in enumerate(('query', 'key', 'value')):
                theirs[f'{layer}.attention.attention.{name}.{kind}'] = (
                    joined[part * WIDTH:(part + 1) * WIDTH])
            theirs[f'{layer}.attention.output.dense.{kind}'] = state[f'{block}.attn.proj.{kind}']
            for name, other in (('norm1', 'norm1'), ('norm2', 'norm2'), ('mlp.fc1', 'mlp.fc1'),
                                ('mlp.fc2', 'mlp.fc2'), ('mlp.weights_in', 'mlp.w12'),
                                ('mlp.weights_out', 'mlp.w3')):
                if f'{block}.{other}.{kind}' in state:
                    theirs[f'{layer}.{name}.{kind}'] = state[f'{block}.{other}.{kind}']
    for number in range(DEPTH):
        for one in (1, 2):
            theirs[f'encoder.layer.{number}.layer_scale{one}.lambda1'] = (
                state[f'blocks.{number}.ls{one}.gamma'])
    return {prefix + name: value for name, value in theirs.items()}


def timm_model(state, registers):
    gated = 'blocks.0.mlp.w12.weight' in state
    # timm's giant has one layer for both halves.
    mlp = dict(mlp_ratio=2 * 64 / WIDTH, mlp_layer=SwiGLUPacked, act_layer=nn.SiLU)
    model = TimmViT(img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
                    num_classes=0, init_values=1., reg_tokens=registers,
                    no_embed_class=bool(registers), **(mlp if gated else {})).eval()
    model.load_state_dict(checkpoint_filter_fn(dict(state), model))
    return model


def tokens_of(model, registers, images):
    tokens = model.forward_features(images)
    return torch.cat([tokens[:, :1], tokens[:, 1 + registers:]], dim=1)


@pytest.mark.parametrize('names', [dict, of_transformers, lambda state: of_transformers(
    state, 'dinov2_with_registers.')], ids=['official', 'transformers', 'with a prefix'])
@pytest.mark.parametrize('gated', [False, True], ids=['plain', 'giant'])
@pytest.mark.parametrize('registers', [0, 3])
@torch.no_grad()
def test_features_of_dinov2(registers, gated, names, tmp_path):
    state, images = official(registers, gated=gated), torch.randn(2, 3, *SIZE)
    wanted = tokens_of(timm_model(state, registers), registers, images)
    theirs = names(state)
    assert detect_naming(theirs) == ('dinov2' if names is dict else 'transformers-dinov2')
    torch.save(theirs, tmp_path / 'a.pth')
    model = ViTClassifier(dict(
        type='amt_mm.RegisterViT', arch=ARCH, img_size=SIZE, patch_size=PATCH, out_type='raw',
        layer_scale_init_value=1., num_registers=registers,
        layer_cfgs=dict(ffn_type='swiglu_fused' if gated else 'origin')))
    report = load_backbone(model, tmp_path / 'a.pth')
    assert report.missing == () and report.unexpected == ('backbone.mask_token', )
    model.eval()
    found, = model.backbone(images)
    assert found.shape == (2, 7, WIDTH)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('gated', [False, True], ids=['plain', 'giant'])
@pytest.mark.parametrize('registers', [0, 3])
@torch.no_grad()
def test_mae_goes_on_from_it(registers, gated, tmp_path):
    state, images = official(registers, gated=gated), torch.randn(3, 3, *SIZE)
    torch.save(state, tmp_path / 'a.pth')
    host = AMTMAEViT(arch=ARCH, img_size=SIZE, patch_size=PATCH, layer_scale_init_value=1.,
                     num_registers=registers,
                     layer_cfgs=dict(ffn_type='swiglu_fused' if gated else 'origin'))
    load_backbone(nn.ModuleDict(dict(backbone=host)), tmp_path / 'a.pth')
    host.eval()
    plan = make_plan(grid=host.grid, masked=1, thrown=2)
    # What timm's network computes from these patches alone.
    theirs = timm_model(state, registers)
    tokens, wanted = theirs._pos_embed(theirs.patch_embed(images)), []
    for image, visible in zip(tokens, plan.visible, strict=True):
        image = torch.cat([image[:1 + registers], image[1 + registers + visible]])[None]
        image = theirs.norm(theirs.blocks(image))[0]
        wanted.append(torch.cat([image[:1], image[1 + registers:]]))
    found = host.encode(patchify(images, PATCH), plan)
    torch.testing.assert_close(found, torch.stack(wanted), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('registers', [0, 4])
@pytest.mark.parametrize('gated', [False, True], ids=['plain', 'giant'])
@pytest.mark.parametrize('to', ['dinov2', 'transformers-dinov2'])
def test_round_trip(registers, to, gated):
    state = official(registers, gated=gated)
    theirs = state if to == 'dinov2' else of_transformers(state)
    ours = convert(theirs, 'mmpretrain')
    assert ours.left_out == []
    back = convert(ours.state, to).state
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in theirs)


def test_what_the_file_tells(tmp_path):
    state = official(4)
    # A standard size, so that its heads are known.
    state = {name: value.repeat(*[16 if side in (WIDTH, 3 * WIDTH, 96) else 1
                                  for side in value.shape]) for name, value in state.items()}
    for block in range(2, 12):
        state.update({name.replace('blocks.0.', f'blocks.{block}.'): value
                      for name, value in state.items() if name.startswith('blocks.0.')})
    torch.save(state, tmp_path / 'a.pth')
    found = describe(tmp_path / 'a.pth')
    assert found.host == 'DINOv2'
    assert found.backbone['num_registers'] == 4 and found.backbone['patch_size'] == 14
    assert found.backbone['arch'] in ('deit-s', 'dinov2-s')


def test_registers_are_not_left_out_silently(tmp_path):
    torch.save(official(2), tmp_path / 'a.pth')
    model = ViTClassifier(dict(type='VisionTransformer', arch=ARCH, img_size=SIZE, patch_size=PATCH,
                               layer_scale_init_value=1.))
    with pytest.raises(InputError, match='lacks 1 entries .* model.backbone.num_registers=2'):
        load_backbone(model, tmp_path / 'a.pth')


def test_timm_names_both_layers_of_a_gated_mlp_as_plain_ones():
    state = official(2, gated=True)
    theirs = timm_model(state, 2).state_dict()
    assert detect_naming(theirs) == 'timm'
    ours = convert(theirs, 'mmpretrain').state
    assert torch.equal(ours['backbone.layers.1.ffn.w12.bias'], state['blocks.1.mlp.w12.bias'])
    assert torch.equal(ours['backbone.layers.0.ffn.w3.weight'], state['blocks.0.mlp.w3.weight'])
    back = convert(ours, 'timm').state
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in theirs)


def test_the_file_of_the_giant_tells_its_size(tmp_path, monkeypatch):
    state = {name.replace('blocks.0.', f'blocks.{block}.'): value for block in range(40)
             for name, value in official(0, gated=True).items() if 'blocks.1.' not in name}
    wide = {WIDTH: 1536, 3 * WIDTH: 3 * 1536, 64: 4096, 128: 8192}
    state = {name: torch.zeros(1).expand([wide.get(side, side) for side in value.shape])
             for name, value in state.items()}
    # Zeros that share their memory, which is refused otherwise, in place of 4.5 GB.
    torch.save(state, tmp_path / 'a.pth')
    monkeypatch.setattr(files, 'is_plain', lambda value: True)
    found = describe(tmp_path / 'a.pth')
    assert found.backbone['arch'] in ('dinov2-g', 'dinov2-giant') and found.host == 'DINOv2'
    assert found.backbone['layer_cfgs'] == dict(ffn_type='swiglu_fused')


@pytest.mark.parametrize('to', ['mae', 'ibot'])
def test_no_place_for_a_gated_mlp(to):
    with pytest.raises(InputError, match=r'layers\.0\.ffn\.w12\.weight'):
        convert(official(0, gated=True), to, encoder_only=True)


@pytest.mark.parametrize('count', [-1, 1.5, True])
def test_invalid_number_of_registers(count):
    with pytest.raises(InputError, match='num_registers'):
        RegisterViT(ARCH, img_size=SIZE, patch_size=PATCH, num_registers=count)


def test_registers_need_cls():
    with pytest.raises(InputError, match=r'needs a \[CLS\] token'):
        RegisterViT(ARCH, img_size=SIZE, patch_size=PATCH, num_registers=2, out_type='avg_featmap',
                    with_cls_token=False)
