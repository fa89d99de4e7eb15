"""detectron2's weights: its names one by one, and its backbone written slowly."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

from amt_mm.detection import SimpleFeaturePyramid, ViTDet
from amt_mm.detection.detectron2_weights import from_detectron2, read_detectron2
from amt_mm.errors import InputError

CONFIGS = Path(__file__).parents[2] / 'configs/mmdet/coco'
B, CASCADE, L, H = (f'{name}_coco.py' for name in (
    'mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-90k', 'cascade-mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-90k',
    'mask-rcnn_vitdet-l_lsj-1024_64xb1-amp-184k', 'mask-rcnn_vitdet-h_lsj-1024_64xb1-amp-138k'))


@pytest.fixture
def mmdet_scope():
    before = DefaultScope.get_current_instance()
    init_default_scope('mmdet')
    yield
    init_default_scope(before.scope_name)


def backbone_shapes(width, depth, heads, grid, window, whole, patch=16, positions=197):
    """Names and shapes of detectron2's ViT (detectron2/modeling/backbone/vit.py)."""
    net = 'backbone.net.'
    yield net + 'pos_embed', (1, positions, width)
    yield net + 'patch_embed.proj.weight', (width, 3, patch, patch)
    yield net + 'patch_embed.proj.bias', (width, )
    for i in range(depth):
        length = 2 * (grid if i in whole else window) - 1
        for name, shape in {
                'norm1.weight': (width, ), 'norm1.bias': (width, ),
                'attn.rel_pos_h': (length, width // heads),
                'attn.rel_pos_w': (length, width // heads),
                'attn.qkv.weight': (3 * width, width), 'attn.qkv.bias': (3 * width, ),
                'attn.proj.weight': (width, width), 'attn.proj.bias': (width, ),
                'norm2.weight': (width, ), 'norm2.bias': (width, ),
                'mlp.fc1.weight': (4 * width, width), 'mlp.fc1.bias': (4 * width, ),
                'mlp.fc2.weight': (width, 4 * width), 'mlp.fc2.bias': (width, )}.items():
            yield f'{net}blocks.{i}.{name}', shape


def pyramid_shapes(width, out=256):
    """Those of its SimpleFeaturePyramid."""
    half, quarter = width // 2, width // 4
    up = {'simfp_2.0.weight': (width, half, 2, 2), 'simfp_2.0.bias': (half, ),
          'simfp_2.1.weight': (half, ), 'simfp_2.1.bias': (half, ),
          'simfp_2.3.weight': (half, quarter, 2, 2), 'simfp_2.3.bias': (quarter, ),
          'simfp_3.0.weight': (width, half, 2, 2), 'simfp_3.0.bias': (half, )}
    for level, (first, channels) in {2: (4, quarter), 3: (1, half), 4: (0, width), 5: (1, width)
                                     }.items():
        for place, shape in ((first, (out, channels, 1, 1)), (first + 1, (out, out, 3, 3))):
            name = f'simfp_{level}.{place}'
            up |= {f'{name}.weight': shape, f'{name}.norm.weight': (out, ),
                   f'{name}.norm.bias': (out, )}
    yield from ((f'backbone.{name}', shape) for name, shape in up.items())


def head_shapes(cascade=False, classes=80):
    """Those of its RPN and RoI heads."""
    rpn = 'proposal_generator.rpn_head.'
    for name, channels, kernel in (('conv.conv0', 256, 3), ('conv.conv1', 256, 3),
                                   ('objectness_logits', 3, 1), ('anchor_deltas', 12, 1)):
        yield f'{rpn}{name}.weight', (channels, 256, kernel, kernel)
        yield f'{rpn}{name}.bias', (channels, )
    stages = ['.0', '.1', '.2'] if cascade else ['']
    boxes = 4 if cascade else 4 * classes
    convolutions = [f'roi_heads.box_head{stage}.conv{i}' for stage in stages for i in (1, 2, 3, 4)]
    convolutions += [f'roi_heads.mask_head.mask_fcn{i}' for i in (1, 2, 3, 4)]
    for name in convolutions:
        yield f'{name}.weight', (256, 256, 3, 3)
        yield f'{name}.norm.weight', (256, )
        yield f'{name}.norm.bias', (256, )
    for stage in stages:
        for name, shape in ((f'box_head{stage}.fc1', (1024, 256 * 49)),
                            (f'box_predictor{stage}.cls_score', (classes + 1, 1024)),
                            (f'box_predictor{stage}.bbox_pred', (boxes, 1024))):
            yield f'roi_heads.{name}.weight', shape
            yield f'roi_heads.{name}.bias', shape[:1]
    yield 'roi_heads.mask_head.deconv.weight', (256, 256, 2, 2)
    yield 'roi_heads.mask_head.deconv.bias', (256, )
    yield 'roi_heads.mask_head.predictor.weight', (classes, 256, 1, 1)
    yield 'roi_heads.mask_head.predictor.bias', (classes, )


@pytest.mark.parametrize(('config', 'width', 'depth', 'heads'), [
    (B, 768, 12, 12), (CASCADE, 768, 12, 12), (L, 1024, 24, 16), (H, 1280, 32, 16)])
def test_every_entry_of_the_detector_is_filled_in_its_shape(config, width, depth, heads,
                                                            mmdet_scope):
    from mmdet.registry import MODELS
    whole = [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
    with torch.device('meta'):
        own = MODELS.build(Config.fromfile(CONFIGS / config).model).state_dict()
        theirs = {name: torch.empty(shape) for name, shape in (
            *backbone_shapes(width, depth, heads, 64, 14, whole), *pyramid_shapes(width),
            *head_shapes(config is CASCADE),
            ('pixel_mean', (3, 1, 1)), ('pixel_std', (3, 1, 1)),
            ('proposal_generator.anchor_generator.cell_anchors.0', (3, 4)))}
    found = {name: tuple(value.shape) for name, value in from_detectron2(theirs).items()}
    wanted = {name: tuple(value.shape) for name, value in own.items()}
    assert wanted.pop('backbone.pos_embed') == (1, 64, 64, width)
    assert found.pop('backbone.pos_embed') == (1, 196, width)
    assert found == wanted


def test_layers_of_equal_shape_keep_their_order():
    theirs = {name: torch.tensor(float(number)) for number, (name, _) in enumerate((
        *backbone_shapes(24, 2, 3, 4, 2, [1]), *pyramid_shapes(24), *head_shapes(cascade=True)))}
    theirs['backbone.net.pos_embed'] = torch.zeros(1, 5, 24)
    found = from_detectron2(theirs)
    for former, name in {
            'proposal_generator.rpn_head.conv.conv1.weight': 'rpn_head.rpn_conv.1.conv.weight',
            'roi_heads.box_head.2.conv4.norm.bias': 'roi_head.bbox_head.2.shared_convs.3.ln.bias',
            'roi_heads.box_head.0.conv1.weight':
                'roi_head.bbox_head.0.shared_convs.0.conv.weight',
            'roi_heads.box_predictor.1.bbox_pred.bias': 'roi_head.bbox_head.1.fc_reg.bias',
            'roi_heads.mask_head.mask_fcn2.weight': 'roi_head.mask_head.2.convs.1.conv.weight',
            'roi_heads.mask_head.deconv.bias': 'roi_head.mask_head.0.upsample.bias',
            'backbone.net.blocks.1.attn.rel_pos_w': 'backbone.layers.1.attn.rel_pos_w',
            'backbone.net.blocks.1.norm2.weight': 'backbone.layers.1.ln2.weight',
            'backbone.simfp_5.2.norm.weight': 'neck.levels.3.4.weight'}.items():
        assert found[name] == theirs[former], name


def norm(x, weight, bias):
    """Layer norm of the last axis."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight + bias


def attend(x, part, heads):
    """Attention on a map ``(h, w, D)``, one query at a time."""
    rows, columns, width = x.shape
    q, k, v = (x @ part['attn.qkv.weight'].T + part['attn.qkv.bias']).split(width, dim=-1)
    size, out = width // heads, torch.empty_like(x)
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        for i in range(rows):
            for j in range(columns):
                logits = torch.empty(rows, columns)
                for a in range(rows):
                    for b in range(columns):
                        query = q[i, j, own]
                        logits[a, b] = (
                            query @ k[a, b, own] / size**.5
                            + query @ part['attn.rel_pos_h'][i - a + rows - 1]
                            + query @ part['attn.rel_pos_w'][j - b + columns - 1])
                weights = logits.flatten().softmax(0).view(rows, columns)
                out[i, j, own] = (weights[..., None] * v[..., own]).sum((0, 1))
    return out @ part['attn.proj.weight'].T + part['attn.proj.bias']


def slow_backbone(state, image, depth, heads, window, whole):
    """detectron2's ViT on one image ``(3, H, W)`` -> ``(D, h, w)``, with its own names."""
    net = 'backbone.net.'
    kernel = state[net + 'patch_embed.proj.weight']
    x = F.conv2d(image[None], kernel, state[net + 'patch_embed.proj.bias'],
                 stride=kernel.shape[-1])[0].permute(1, 2, 0)
    rows, columns = x.shape[:2]
    positions = state[net + 'pos_embed'][0, 1:]
    side = int(len(positions)**.5)
    x = x + F.interpolate(positions.view(1, side, side, -1).permute(0, 3, 1, 2), (rows, columns),
                          mode='bicubic', align_corners=False)[0].permute(1, 2, 0)
    for i in range(depth):
        start = f'{net}blocks.{i}.'
        part = {name.removeprefix(start): value for name, value in state.items()
                if name.startswith(start)}
        normed = norm(x, part['norm1.weight'], part['norm1.bias'])
        if i in whole:
            attended = attend(normed, part, heads)
        else:
            # Zeros beyond the edge fill the last windows, and are attended to.
            padded = F.pad(normed, (0, 0, 0, -columns % window, 0, -rows % window))
            attended = torch.empty_like(padded)
            for top in range(0, padded.shape[0], window):
                for left in range(0, padded.shape[1], window):
                    cut = slice(top, top + window), slice(left, left + window)
                    attended[cut] = attend(padded[cut], part, heads)
            attended = attended[:rows, :columns]
        x = x + attended
        hidden = norm(x, part['norm2.weight'], part['norm2.bias']) @ part['mlp.fc1.weight'].T
        hidden = F.gelu(hidden + part['mlp.fc1.bias'])
        x = x + hidden @ part['mlp.fc2.weight'].T + part['mlp.fc2.bias']
    return x.permute(2, 0, 1)


def slow_pyramid(state, x):
    """detectron2's SimpleFeaturePyramid of one map ``(D, h, w)``, without its last pooling."""

    def channels(y, name):
        return norm(y.permute(0, 2, 3, 1), state[f'{name}.weight'], state[f'{name}.bias']
                    ).permute(0, 3, 1, 2)

    def up(y, name):
        return F.conv_transpose2d(y, state[f'{name}.weight'], state[f'{name}.bias'], stride=2)

    def finish(y, level, first):
        for place, padding in ((first, 0), (first + 1, 1)):
            name = f'backbone.simfp_{level}.{place}'
            y = channels(F.conv2d(y, state[f'{name}.weight'], padding=padding), f'{name}.norm')
        return y[0]

    x = x[None]
    finest = F.gelu(channels(up(x, 'backbone.simfp_2.0'), 'backbone.simfp_2.1'))
    return [finish(up(finest, 'backbone.simfp_2.3'), 2, 4),
            finish(up(x, 'backbone.simfp_3.0'), 3, 1), finish(x, 4, 0),
            finish(F.max_pool2d(x, 2), 5, 1)]


def test_features_are_those_of_detectron2():
    """5 x 5 patches in windows of 2, so that windows cross the edge; 3 x 3 positions."""
    chance = torch.Generator().manual_seed(0)
    theirs = {name: torch.randn(shape, generator=chance) * .3 for name, shape in (
        *backbone_shapes(24, 4, 3, 5, 2, [1, 3], patch=8, positions=10), *pyramid_shapes(24, 16))}
    ours = from_detectron2(theirs)
    backbone = ViTDet(dict(embed_dims=24, num_layers=4, num_heads=3, feedforward_channels=96,
                           global_attn_indexes=[1, 3]),
                      img_size=40, patch_size=8, window_size=2, drop_path_rate=0)
    neck = SimpleFeaturePyramid(24, 16, patch_size=8, strides=(2, 4, 8, 16))
    for prefix, part in (('backbone.', backbone), ('neck.', neck)):
        part.load_state_dict({name.removeprefix(prefix): value for name, value in ours.items()
                              if name.startswith(prefix)})
    image = torch.randn(3, 40, 40, generator=chance)
    backbone.eval()
    with torch.no_grad():
        found = backbone(image[None])
        wanted = slow_backbone(theirs, image, 4, 3, 2, [1, 3])
        torch.testing.assert_close(found[-1][0], wanted, rtol=1e-3, atol=1e-4)
        for level, slow in zip(neck(found), slow_pyramid(theirs, wanted), strict=False):
            torch.testing.assert_close(level[0], slow, rtol=1e-3, atol=1e-4)


def test_files_of_both_kinds_are_read(tmp_path):
    arrays = {'backbone.net.pos_embed': np.ones((1, 5, 4), np.float32)}
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps({'model': arrays, '__author__': 'x'}))
    torch.save({'model': {name: torch.from_numpy(value) for name, value in arrays.items()},
                'iteration': 3}, tmp_path / 'a.pth')
    for name in ('a.pkl', 'a.pth'):
        found, = read_detectron2(tmp_path / name).values()
        assert torch.equal(found, torch.ones(1, 5, 4))
    (tmp_path / 'b.pkl').write_bytes(pickle.dumps({'model': [1, 2]}))
    with pytest.raises(InputError, match='b.pkl: has no arrays under `model`'):
        read_detectron2(tmp_path / 'b.pkl')


@pytest.mark.parametrize(('name', 'message'), [
    ('backbone.net.blocks.0.residual.conv1.weight', '1 entries such as `backbone.net.blocks.0.r'),
    ('backbone.bottom_up.stem.weight', 'are not of a ViTDet of detectron2')])
def test_other_networks_are_refused(name, message):
    state = {name: torch.zeros(1)}
    if 'net' in name:
        state |= {key: torch.zeros(shape) for key, shape in backbone_shapes(8, 1, 2, 2, 2, [0])}
    with pytest.raises(InputError, match=message):
        from_detectron2(state)
