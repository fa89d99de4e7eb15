"""MAE from the weights of a checkpoint, of this toolbox or official."""

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from slow_mae import make_images, make_plan

from amt_mm.checkpoints import Checkpoint, convert
from amt_mm.checkpoints.describe import describe
from amt_mm.errors import InputError
from amt_mm.masking import patchify
from amt_mm.models.recorded_mae import build_mae

SIZE, PATCH = 40, 8
ARCH = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)
BACKBONE = dict(arch=ARCH, patch_size=PATCH)


@pytest.fixture
def mae(toy_mae):
    def make(width=16, heads=2, cross_attention=False, **backbone):
        return toy_mae(backbone=dict(img_size=SIZE, **backbone),
                       neck=dict(decoder_embed_dim=width, decoder_num_heads=heads,
                                 cross_attention=cross_attention))
    return make


def config(heads=2, **backbone):
    return dict(model=dict(backbone=backbone, neck=dict(decoder_num_heads=heads),
                           head=dict(norm_pix=True)))


def predictions(model):
    images, plan = make_images(2, SIZE, SIZE), make_plan(2, 11, 4, (5, 5))
    with torch.no_grad():
        return model.predict(model.backbone.encode(patchify(images, PATCH), plan), plan)


@pytest.mark.parametrize('skip_layers', [(), (0, )])
def test_it_predicts_as_the_model_that_was_saved(mae, skip_layers):
    model = mae(skip_layers=skip_layers)
    found = build_mae(Checkpoint(model.state_dict(), (5, 5), config(skip_layers=skip_layers)),
                      BACKBONE, SIZE)
    assert found.head.norm_pix is True and not found.training
    assert torch.equal(predictions(found), predictions(model.eval()))


@pytest.mark.parametrize('rotary', [False, True])
def test_registers(rotary, mae, tmp_path):
    model = mae(num_registers=2, rotary=rotary)
    cfg = config(arch=ARCH, img_size=SIZE)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=Config(cfg).pretty_text)),
               tmp_path / 'a.pth')
    backbone = describe(tmp_path / 'a.pth').backbone
    found = build_mae(Checkpoint(model.state_dict(), (5, 5), cfg), backbone, SIZE)
    assert torch.equal(predictions(found), predictions(model.eval()))


def test_cross_attention_is_read_from_the_config(mae):
    model = mae(cross_attention=True)
    cfg = config()
    cfg['model']['neck']['cross_attention'] = True
    found = build_mae(Checkpoint(model.state_dict(), (5, 5), cfg), BACKBONE, SIZE)
    assert torch.equal(predictions(found), predictions(model.eval()))
    assert not torch.allclose(predictions(mae()), predictions(model))


def test_official_names_and_sizes_that_the_file_does_not_record(mae):
    model = mae(width=512, heads=16)
    state = convert(model.state_dict(), 'mae').state
    found = build_mae(Checkpoint(state, None, {}), BACKBONE, SIZE)
    assert found.head.norm_pix is None
    assert torch.equal(predictions(found), predictions(model.eval()))
    with pytest.raises(InputError, match='width 16, but no config that gives its number of heads'):
        build_mae(Checkpoint(convert(mae().state_dict(), 'mae').state, None, {}), BACKBONE, SIZE)


def test_positions_are_resized(mae):
    model = mae()
    found = build_mae(Checkpoint(model.state_dict(), (5, 5), config()), BACKBONE, 56)
    assert found.backbone.grid == (7, 7)
    assert found.neck.decoder_pos_embed.shape == (1, 50, 16)
    wanted = torch.nn.functional.interpolate(
        model.neck.decoder_pos_embed[:, 1:].unflatten(1, (5, 5)).permute(0, 3, 1, 2), (7, 7),
        mode='bicubic', align_corners=False).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found.neck.decoder_pos_embed[:, 1:], wanted)


def test_no_decoder_is_none_and_another_one_is_refused(mae):
    state = mae().state_dict()
    encoder = {name: value for name, value in state.items() if name.startswith('backbone.')}
    assert build_mae(Checkpoint(encoder, None, {}), BACKBONE, SIZE) is None
    simmim = MODELS.build(dict(type='amt_mm.AMTSimMIMDecoder', in_channels=24, encoder_stride=8))
    other = {f'neck.{name}': value for name, value in simmim.state_dict().items()}
    assert build_mae(Checkpoint({**encoder, **other}, None, {}), BACKBONE, SIZE) is None
    with pytest.raises(InputError, match="decoder is not plain MAE's: neck.ln1.bias is missing"):
        build_mae(Checkpoint({name: value for name, value in state.items()
                              if name != 'neck.ln1.bias'}, (5, 5), config()), BACKBONE, SIZE)
    del state['backbone.pos_embed']
    with pytest.raises(InputError, match='backbone.pos_embed is missing'):
        build_mae(Checkpoint(state, (5, 5), config()), BACKBONE, SIZE)
    # A decoder that reads blocks which the config does not tell.
    wide = mae(skip_layers=(0, )).state_dict()
    with pytest.raises(InputError, match='decoder_embed.weight is missing or has another shape'):
        build_mae(Checkpoint(wide, (5, 5), config()), BACKBONE, SIZE)
