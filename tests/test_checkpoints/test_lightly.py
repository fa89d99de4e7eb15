"""lightly's names: its modules wrap timm's transformer, and MAE's decoder has its own prefix."""

import pytest
import torch
from timm.models import VisionTransformer as TimmViT
from torch import nn

from amt_mm.checkpoints import convert, detect_naming, read_checkpoint
from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.errors import InputError
from amt_mm.models import RegisterViT

SIZE, PATCH, WIDTH = (24, 40), 8, 24
ARCH = dict(embed_dims=WIDTH, num_layers=2, num_heads=3, feedforward_channels=96)
# Of lightly.models.modules.MAEDecoderTIMM(embed_dim=24, decoder_embed_dim=16, decoder_depth=1).
DECODER = {
    'mask_token': (1, 1, 16), 'decoder_pos_embed': (1, 16, 16), 'decoder_embed.weight': (16, 24),
    'decoder_embed.bias': (16, ), 'decoder_blocks.0.norm1.weight': (16, ),
    'decoder_blocks.0.norm1.bias': (16, ), 'decoder_blocks.0.attn.qkv.weight': (48, 16),
    'decoder_blocks.0.attn.qkv.bias': (48, ), 'decoder_blocks.0.attn.proj.weight': (16, 16),
    'decoder_blocks.0.attn.proj.bias': (16, ), 'decoder_blocks.0.norm2.weight': (16, ),
    'decoder_blocks.0.norm2.bias': (16, ), 'decoder_blocks.0.mlp.fc1.weight': (64, 16),
    'decoder_blocks.0.mlp.fc1.bias': (64, ), 'decoder_blocks.0.mlp.fc2.weight': (16, 64),
    'decoder_blocks.0.mlp.fc2.bias': (16, ), 'decoder_norm.weight': (16, ),
    'decoder_norm.bias': (16, ), 'decoder_pred.weight': (192, 16), 'decoder_pred.bias': (192, )}


def network(seed):
    torch.manual_seed(seed)
    vit = TimmViT(img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=2, num_heads=3).eval()
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=.2)
    return vit


def named(vit, prefix):
    """Names of lightly's MaskedVisionTransformerTIMM, as an attribute of a method."""
    return {f'{prefix}mask_token': torch.zeros(1, 1, WIDTH),
            **{f'{prefix}vit.{name}': value for name, value in vit.state_dict().items()}}


def tokens_of(path, encoder=None):
    vit = RegisterViT(ARCH, SIZE, PATCH, out_type='raw')
    report = load_backbone(nn.ModuleDict(dict(backbone=vit)), path, encoder)
    vit.eval()
    images = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    return report, images, vit(images)[0]


@pytest.mark.parametrize('prefix', ['backbone.', ''], ids=['a method', 'its backbone alone'])
@torch.no_grad()
def test_features_of_mae(prefix, tmp_path):
    theirs, others = network(0), {f'decoder.{name}': torch.randn(shape)
                                  for name, shape in DECODER.items()}
    # As Lightning stores it.
    torch.save(dict(state_dict={**named(theirs, prefix), **(others if prefix else {})}, epoch=3),
               tmp_path / 'a.pth')
    report, images, tokens = tokens_of(tmp_path / 'a.pth')
    assert report.naming == 'lightly' and not report.missing
    torch.testing.assert_close(tokens, theirs.forward_features(images), atol=1e-5, rtol=1e-5)


def test_decoder_and_what_is_left_out():
    state = {**named(network(0), 'backbone.'),
             **{f'decoder.{name}': torch.randn(shape) for name, shape in DECODER.items()}}
    ours = convert(state, 'mmpretrain')
    # The head of timm's class is not trained.
    assert ours.left_out == ['backbone.vit.head.weight', 'backbone.vit.head.bias']
    assert torch.equal(ours.state['neck.mask_token'], state['decoder.mask_token'])
    # MAE's own names are those of the decoder without its prefix.
    mae = convert(state, 'mae').state
    assert all(torch.equal(mae[name], state[f'decoder.{name}']) for name in DECODER)
    back = convert(ours.state, 'lightly').state
    assert back.keys() == state.keys() - {*ours.left_out}
    assert all(torch.equal(back[name], state[name]) for name in back)


@torch.no_grad()
def test_teacher_and_student(tmp_path):
    teacher, student = network(1), network(2)
    torch.save({**named(teacher, 'teacher_backbone.'), **named(student, 'student_backbone.'),
                'student_head.layers.0.weight': torch.zeros(3, WIDTH)}, tmp_path / 'a.pth')
    for encoder, theirs in ((None, teacher), ('teacher', teacher), ('student', student)):
        report, images, tokens = tokens_of(tmp_path / 'a.pth', encoder)
        assert report.encoder == encoder or (encoder, report.encoder) == (None, 'teacher')
        torch.testing.assert_close(tokens, theirs.forward_features(images), atol=1e-5, rtol=1e-5)


def test_entries_that_would_change_features_are_refused():
    state = {**named(network(0), 'backbone.'), 'backbone.vit.rope.freqs': torch.zeros(2)}
    with pytest.raises(InputError, match=r'backbone\.vit\.rope\.freqs'):
        convert(state, 'mmpretrain')


@pytest.mark.parametrize('prefix', ['', '_model.', 'wrapped_model._model.'])
def test_exports_of_lightly_train(prefix, tmp_path):
    # lightly_train.export writes the state dict of the network, of its wrapper, or of what embeds.
    state = network(0).state_dict()
    torch.save({f'{prefix}{name}': value for name, value in state.items()}, tmp_path / 'a.pt')
    found = read_checkpoint(tmp_path / 'a.pt').state
    assert found.keys() == state.keys() and detect_naming(found) == 'timm'
