"""DINOv3's names there, in transformers and in timm, whose class Eva computes the same."""

from functools import partial

import pytest
import torch
from slow_mae import make_plan
from timm.layers import LayerNorm
from timm.models.eva import Eva, checkpoint_filter_fn
from torch import nn

from amt_mm.checkpoints import convert, detect_naming
from amt_mm.checkpoints.describe import describe
from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.errors import InputError
from amt_mm.masking import TokenMask, patchify
from amt_mm.models import AMTMAEViT, AMTMaskFeatViT, AMTSimMIMViT, IBOTViT, RegisterViT

# Two heads of 64 channels, as all heads of DINOv3 but those of 7B are.
WIDTH, DEPTH, HIDDEN, PATCH, REGISTERS = 128, 2, 40, 16, 4
CLOSE = dict(atol=1e-5, rtol=1e-5)
# Of several shapes, with odd grids: 2 x 3, 3 x 2, 5 x 1, 7 x 7.
SIZES = [(32, 48), (48, 32), (80, 16), (112, 112)]


def exact_periods():
    return torch.tensor([100.**(number / 16) for number in range(16)])


def official(gated, seed=0):
    """Random weights under the names and in the shapes of DINOv3's own files."""
    torch.manual_seed(seed)
    state = dict(cls_token=torch.randn(1, 1, WIDTH), mask_token=torch.randn(1, WIDTH),
                 storage_tokens=torch.randn(1, REGISTERS, WIDTH))
    state['rope_embed.periods'] = exact_periods()
    shapes = {'patch_embed.proj': (WIDTH, 3, PATCH, PATCH), 'norm': (WIDTH, )}
    mlp = ({'w1': (HIDDEN, WIDTH), 'w2': (HIDDEN, WIDTH), 'w3': (WIDTH, HIDDEN)} if gated else
           {'fc1': (HIDDEN, WIDTH), 'fc2': (WIDTH, HIDDEN)})
    for block in range(DEPTH):
        shapes.update({f'blocks.{block}.{name}': shape for name, shape in {
            'norm1': (WIDTH, ), 'attn.qkv': (3 * WIDTH, WIDTH), 'attn.proj': (WIDTH, WIDTH),
            'norm2': (WIDTH, ), **{f'mlp.{name}': mlp[name] for name in mlp}}.items()})
        for scale in ('ls1', 'ls2'):
            state[f'blocks.{block}.{scale}.gamma'] = torch.rand(WIDTH)
    for name, shape in shapes.items():
        state[f'{name}.weight'] = torch.randn(shape) * .15 + (len(shape) == 1)
        state[f'{name}.bias'] = torch.randn(shape[0]) * .3
    for block in range(DEPTH):
        mask = torch.ones(3 * WIDTH)
        mask[WIDTH:2 * WIDTH] = 0
        state[f'blocks.{block}.attn.qkv.bias_mask'] = mask
    return state


def without_key_biases(state):
    """The same network: what its masks hide is 0."""
    return {name: value * state.get(f'{name}_mask', 1) if name.endswith('qkv.bias') else value
            for name, value in state.items()}


def of_transformers(state):
    """The same under the names of transformers, written out one by one."""
    theirs = {f'embeddings.{name}': value for name, value in (
        ('cls_token', state['cls_token']), ('mask_token', state['mask_token'][None]),
        ('register_tokens', state['storage_tokens']))}
    for kind in ('weight', 'bias'):
        theirs[f'embeddings.patch_embeddings.{kind}'] = state[f'patch_embed.proj.{kind}']
        theirs[f'norm.{kind}'] = state[f'norm.{kind}']
        for number in range(DEPTH):
            block, layer = f'blocks.{number}', f'layer.{number}'
            joined = state[f'{block}.attn.qkv.{kind}']
            for part, name in enumerate('qkv'):
                if (name, kind) != ('k', 'bias'):
                    theirs[f'{layer}.attention.{name}_proj.{kind}'] = (
                        joined[part * WIDTH:(part + 1) * WIDTH])
            for name, other in (
                    ('attention.o_proj', 'attn.proj'), ('norm1', 'norm1'), ('norm2', 'norm2'),
                    ('mlp.up_proj', 'mlp.fc1'), ('mlp.down_proj', 'mlp.fc2'),
                    ('mlp.gate_proj', 'mlp.w1'), ('mlp.up_proj', 'mlp.w2'),
                    ('mlp.down_proj', 'mlp.w3')):
                if f'{block}.{other}.{kind}' in state:
                    theirs[f'{layer}.{name}.{kind}'] = state[f'{block}.{other}.{kind}']
    for number in range(DEPTH):
        for one in (1, 2):
            theirs[f'layer.{number}.layer_scale{one}.lambda1'] = (
                state[f'blocks.{number}.ls{one}.gamma'])
    return theirs


def in_memory(state):
    """As transformers' release 5 names its modules."""
    return {f'model.{name}' if name.startswith('layer.') else name: value
            for name, value in of_transformers(state).items()}


def timm_model(state):
    model = Eva(patch_size=PATCH, dynamic_img_size=True, embed_dim=WIDTH, depth=DEPTH, num_heads=2,
                mlp_ratio=HIDDEN / WIDTH, num_classes=0, init_values=1., rope_type='dinov3',
                rope_temperature=100, rope_rotate_half=True, use_rot_pos_emb=True,
                use_abs_pos_emb=False, num_reg_tokens=REGISTERS, use_fc_norm=False,
                norm_layer=partial(LayerNorm, eps=1e-5),
                swiglu_mlp='blocks.0.mlp.w1.weight' in state, swiglu_align_to=8).eval()
    model.load_state_dict(checkpoint_filter_fn(dict(state), model))
    return model


def of_timm(state):
    return timm_model(state).state_dict()


def loaded(state, folder):
    """The encoder as the file describes it, filled with the file."""
    torch.save(state, folder / 'a.pth')
    vit = RegisterViT(img_size=48, out_type='raw', **describe(folder / 'a.pth').backbone)
    report = load_backbone(nn.ModuleDict(dict(backbone=vit)), folder / 'a.pth')
    vit.eval()
    return vit, report


NAMES = {'dinov3': dict, 'transformers-dinov3': of_transformers, 'timm-dinov3': of_timm}


@pytest.mark.parametrize('names', [*NAMES.values(), in_memory], ids=[*NAMES, 'in memory'])
@pytest.mark.parametrize('gated', [False, True], ids=['plain', 'plus'])
@torch.no_grad()
def test_features_of_dinov3(gated, names, tmp_path):
    state = official(gated)
    vit, report = loaded(names(state), tmp_path)
    assert not report.missing and set(report.unexpected) <= {'backbone.mask_token'}
    assert 'its positions are rotary, so none is resized' in str(report)
    wanted = timm_model(state)
    for size in SIZES:
        images = torch.randn(2, 3, *size)
        tokens = wanted.forward_features(images)
        tokens = torch.cat([tokens[:, :1], tokens[:, 1 + REGISTERS:]], dim=1)
        torch.testing.assert_close(vit(images)[0], tokens, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_positions_matter(tmp_path):
    # Otherwise the test above would pass without them.
    vit, _ = loaded(official(False), tmp_path)
    images = torch.randn(2, 3, 48, 32)
    before, = vit(images)
    vit.rotary.periods.mul_(1.1)
    assert (vit(images)[0] - before).abs().max() > .01


@pytest.mark.parametrize('to', NAMES)
@pytest.mark.parametrize('gated', [False, True], ids=['plain', 'plus'])
def test_round_trip(gated, to):
    theirs = NAMES[to](without_key_biases(official(gated)))
    assert detect_naming(theirs) == to
    ours = convert(theirs, 'mmpretrain')
    assert ours.left_out == []
    back = convert(ours.state, to).state
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in theirs)


def test_periods_of_the_file_are_used(tmp_path):
    # The published files have them in bfloat16.
    state = official(False)
    rounded = exact_periods().bfloat16()
    state['rope_embed.periods'] = rounded
    vit, _ = loaded(state, tmp_path)
    assert torch.equal(vit.rotary.periods, rounded.float())
    assert not torch.equal(vit.rotary.periods, exact_periods())
    exported = convert(state, 'transformers-dinov3')
    assert any('rounded periods' in note for note in exported.notes)
    assert not any('period' in name for name in exported.state)


def test_other_periods_have_no_place_elsewhere():
    state = without_key_biases(official(False))
    state['rope_embed.periods'] = exact_periods() * 1.02
    with pytest.raises(InputError, match='other periods than those of base 100'):
        convert(state, 'timm-dinov3')
    assert torch.equal(convert(state, 'mmpretrain').state['backbone.rotary.periods'],
                       exact_periods() * 1.02)


def test_what_the_file_tells(tmp_path):
    torch.save(official(True), tmp_path / 'a.pth')
    found = describe(tmp_path / 'a.pth')
    assert found.host == 'DINOv3'
    assert found.backbone == dict(
        arch=dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=2, feedforward_channels=60),
        patch_size=PATCH, layer_scale_init_value=.1, num_registers=REGISTERS, rotary=True,
        norm_cfg=dict(type='LN', eps=1e-5), layer_cfgs=dict(ffn_type='swiglu_fused'))


def timm_tokens(theirs, images, kept, masked=None, mask_token=None):
    """What timm's network computes from some patches alone, the masked ones replaced."""
    tokens, rotation = theirs._pos_embed(theirs.patch_embed(images))
    outputs = []
    for number, image in enumerate(tokens):
        patches = image[1 + REGISTERS:].clone()
        if masked is not None:
            patches[masked[number]] = mask_token[0, 0]
        image = torch.cat([image[:1 + REGISTERS], patches[kept[number]]])[None]
        for block in theirs.blocks:
            image = block(image, rope=rotation[kept[number]])
        outputs.append(torch.cat([image[0, :1], image[0, 1 + REGISTERS:]]))
    return theirs.norm(torch.stack(outputs))


@pytest.mark.parametrize('gated', [False, True], ids=['plain', 'plus'])
@torch.no_grad()
def test_mae_goes_on_from_it(gated, tmp_path):
    state = official(gated)
    torch.save(state, tmp_path / 'a.pth')
    height, width = size = (48, 80)
    host = AMTMAEViT(img_size=size, **describe(tmp_path / 'a.pth').backbone)
    host.init_weights()
    load_backbone(nn.ModuleDict(dict(backbone=host)), tmp_path / 'a.pth')
    host.eval()
    images = torch.randn(3, 3, height, width)
    plan = make_plan(grid=host.grid, masked=4, thrown=5)
    theirs = timm_model(state)
    found = host.encode(patchify(images, PATCH), plan)
    assert found.shape == (3, 1 + 6, WIDTH)
    torch.testing.assert_close(found, timm_tokens(theirs, images, plan.visible), **CLOSE)
    torch.testing.assert_close(host(images)[0][:, 1:], theirs.forward_features(images)[
        :, 1 + REGISTERS:], **CLOSE)


@pytest.mark.parametrize('kind', [AMTSimMIMViT, AMTMaskFeatViT])
@torch.no_grad()
def test_hosts_with_mask_tokens_go_on_from_it(kind, tmp_path):
    state = official(True)
    torch.save(state, tmp_path / 'a.pth')
    host = kind(img_size=(48, 80), **describe(tmp_path / 'a.pth').backbone)
    host.init_weights()
    load_backbone(nn.ModuleDict(dict(backbone=host)), tmp_path / 'a.pth')
    host.eval()
    images, plan = torch.randn(3, 3, 48, 80), make_plan(grid=host.grid, masked=4, thrown=5)
    kept = torch.cat([plan.visible, plan.masked], dim=1)
    wanted = timm_tokens(timm_model(state), images, kept, plan.masked, state['mask_token'][None])
    torch.testing.assert_close(host.encode(patchify(images, PATCH), plan), wanted[:, -4:], **CLOSE)


@torch.no_grad()
def test_ibot_goes_on_from_it(tmp_path):
    state = official(False)
    torch.save(state, tmp_path / 'a.pth')
    host = IBOTViT(img_size=48, **describe(tmp_path / 'a.pth').backbone)
    host.init_weights()
    load_backbone(nn.ModuleDict(dict(backbone=host)), tmp_path / 'a.pth')
    host.mask_token.normal_()
    host.eval()
    # A crop of another size than the encoder's.
    images, masked = torch.randn(2, 3, 32, 80), torch.tensor([[1, 7], [3, 0]])
    mask = TokenMask(torch.tensor([0, 0, 1, 1]), masked.flatten(), torch.tensor([2, 2]), (2, 5))
    everything = torch.arange(10).expand(2, -1)
    wanted = timm_tokens(timm_model(state), images, everything, masked, host.mask_token)
    torch.testing.assert_close(host.encode(images, mask), wanted, **CLOSE)


def test_training_leaves_keys_without_bias(tmp_path):
    """DINOv3's files have no place for one."""
    torch.save(official(False), tmp_path / 'a.pth')
    host = AMTMAEViT(img_size=(32, 48), **describe(tmp_path / 'a.pth').backbone)
    model = nn.ModuleDict(dict(backbone=host))
    load_backbone(model, tmp_path / 'a.pth')
    patches, plan = patchify(torch.randn(2, 3, 32, 48), PATCH), make_plan(2, 2, 1, (2, 3))
    optimizer = torch.optim.AdamW(host.parameters(), lr=.1)
    host.encode(patches, plan).square().mean().backward()
    optimizer.step()
    query, key, value = host.layers[0].attn.qkv.bias.chunk(3)
    assert key.eq(0).all() and query.ne(0).all() and value.ne(0).all()
    assert all(parameter.grad.any() for parameter in (host.pre_norm.tokens, host.cls_token))
    convert(model.state_dict(), 'transformers-dinov3')


def test_a_host_without_rotary_positions(tmp_path):
    torch.save(official(False), tmp_path / 'a.pth')
    host = AMTSimMIMViT(img_size=48, patch_size=PATCH, layer_scale_init_value=1., arch=dict(
        embed_dims=WIDTH, num_layers=DEPTH, num_heads=2, feedforward_channels=HIDDEN))
    with pytest.raises(InputError, match='are rotary, .* set model.backbone.rotary') as caught:
        load_backbone(nn.ModuleDict(dict(backbone=host)), tmp_path / 'a.pth')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(('changes', 'said'), [
    (dict(rotary=False), 'set model.backbone.rotary=True'),
    (dict(arch=dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=4, feedforward_channels=HIDDEN)),
     'its heads are 64 wide, those of the model 32')])
def test_another_encoder_is_refused(changes, said, tmp_path):
    torch.save(official(False), tmp_path / 'a.pth')
    backbone = {**describe(tmp_path / 'a.pth').backbone, **changes}
    vit = RegisterViT(img_size=48, **backbone)
    with pytest.raises(InputError, match=said):
        load_backbone(nn.ModuleDict(dict(backbone=vit)), tmp_path / 'a.pth')


@pytest.mark.parametrize('to', NAMES)
def test_positions_that_are_added_are_not_dinov3s(to, tmp_path):
    vit = RegisterViT(dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8), 32)
    state = {f'backbone.{name}': value for name, value in vit.state_dict().items()}
    with pytest.raises(InputError, match='its positions are not rotary'):
        convert(state, to)
    rotary = RegisterViT(vit.arch_settings, 32, rotary=True)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='set model.backbone.rotary=False'):
        load_backbone(nn.ModuleDict(dict(backbone=rotary)), tmp_path / 'a.pth')


@pytest.mark.parametrize('to', ['timm', 'mae', 'dinov2', 'transformers-dinov2'])
def test_no_place_for_rotary_positions(to):
    with pytest.raises(InputError, match=r'such as `backbone\.rotary\.periods`'):
        convert(official(False), to)


@pytest.mark.parametrize('to', ['dinov3', 'timm-dinov3'])
def test_biases_of_keys_are_not_dropped_silently(to):
    ours = convert(official(False), 'mmpretrain').state
    ours['backbone.layers.1.attn.qkv.bias'][WIDTH] = 1
    with pytest.raises(InputError, match='is not 0 for keys'):
        convert(ours, to)
    kept = convert(ours, 'transformers-dinov3').state
    assert kept['layer.1.attention.k_proj.bias'][0] == 1
    assert 'layer.0.attention.k_proj.bias' not in kept
