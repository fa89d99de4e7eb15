"""Files of DINO, iBOT and AttMask: read in their true format, equal in function, exact both ways.

The oracle is the released network, in tests/released_ibot.py.
"""

import pytest
import torch
from mmpretrain.registry import MODELS
from released_ibot import ARCH, BOTTLENECK, DEPTH, HIDDEN, OUT, PATCH, SIZE, Network, release

from amt_mm.checkpoints import convert, detect_naming, read_checkpoint, write_checkpoint
from amt_mm.errors import InputError
from amt_mm.masking import TokenMask

pytestmark = pytest.mark.filterwarnings('ignore:.*weight_norm.*:FutureWarning')


def ours():
    torch.manual_seed(5)
    model = MODELS.build(dict(
        type='amt_mm.IBOT',
        backbone=dict(type='amt_mm.IBOTViT', img_size=SIZE, patch_size=PATCH, arch=ARCH),
        head=dict(type='amt_mm.DistillationHead', out_channels=OUT, hidden_channels=HIDDEN,
                  bottleneck_channels=BOTTLENECK),
        masking=dict(type='amt_mm.CropMasking', strategy='high')))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model.eval()


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) and one[key].shape == other[key].shape
               for key in one)


@torch.no_grad()
def test_student_teacher_heads_and_centers_compute_what_the_release_does(tmp_path):
    student, teacher = release(tmp_path / 'a.pth')
    model, state = ours(), convert(read_checkpoint(tmp_path / 'a.pth').state, 'mmpretrain').state
    missing, unexpected = model.load_state_dict(state, strict=False)
    # The released teacher has no vector for masks, and sees none.
    assert missing == ['teacher.backbone.mask_token'] and not unexpected
    images = torch.randn(2, 3, SIZE, SIZE)
    scores = torch.rand(2, 25)
    mask = TokenMask.from_order(scores.argsort(descending=True), torch.tensor([7, 0]), (5, 5))
    for backbone, head, theirs, masked in (
            (model.backbone, model.head, student, mask),
            (model.teacher.backbone, model.teacher.head, teacher, None)):
        wanted = theirs.backbone.tokens(images, masked and masked.states())
        tokens = backbone.encode(images, masked)
        torch.testing.assert_close(tokens, wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(head(tokens), theirs.head(wanted), atol=1e-5, rtol=1e-5)
    content = torch.load(tmp_path / 'a.pth', weights_only=False)
    assert torch.equal(model.cls_center.mean, content['ibot_loss']['center'][0])
    assert torch.equal(model.patch_center.mean, content['ibot_loss']['center2'][0, 0])


@pytest.mark.parametrize('method', ['ibot', 'dino'])
@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_their_file_there_and_back(tmp_path, method, ending):
    release(tmp_path / 'a.pth', method)
    first = read_checkpoint(tmp_path / 'a.pth')
    there = convert(first.state, 'mmpretrain')
    assert (there.naming, there.left_out, there.notes) == (method, [], [])
    back = convert(there.state, method)
    assert back.left_out == []
    write_checkpoint(tmp_path / f'b.{ending}', back.state, under=None)
    same(read_checkpoint(tmp_path / f'b.{ending}').state, first.state)
    if ending == 'pth':
        content, wanted = (torch.load(tmp_path / f'{name}.pth', weights_only=False)
                           for name in 'ab')
        for part in ('student', 'teacher', f'{method}_loss'):
            same(content[part], wanted[part])


def test_our_file_there_and_back(tmp_path):
    first = ours().state_dict()
    there = convert(first, 'ibot')
    assert there.left_out == ['teacher.backbone.mask_token']
    back = convert(there.state, 'mmpretrain')
    assert back.naming == 'ibot'
    same(back.state, {k: v for k, v in first.items() if k != 'teacher.backbone.mask_token'})
    # Their networks take it whole.
    write_checkpoint(tmp_path / 'a.pth', there.state, under=None)
    content = torch.load(tmp_path / 'a.pth')
    Network(masks=True).load_state_dict(
        {k.removeprefix('module.'): v for k, v in content['student'].items()})
    Network().load_state_dict(content['teacher'])
    assert content['ibot_loss']['center2'].shape == (1, 1, OUT)


def test_masks_have_no_place_in_dino():
    result = convert(ours().state_dict(), 'dino')
    assert result.left_out == ['backbone.mask_token', 'teacher.backbone.mask_token',
                               'patch_center.mean']
    assert 'dino_loss.center' in result.state
    assert not any('last_layer2' in key for key in result.state)


def test_layer_scales():
    state = Network(scales=True).state_dict()
    found = convert(state, 'mmpretrain').state
    for theirs, name in (('gamma_1', 'attn.gamma1'), ('gamma_2', 'ffn.gamma2')):
        assert torch.equal(found[f'backbone.layers.1.{name}.weight'],
                           state[f'backbone.blocks.1.{theirs}'])


def broken_heads():
    unshared = Network(shared=False).state_dict()
    batch_norm = {**Network().state_dict(), 'head.mlp.1.running_mean': torch.zeros(HIDDEN)}
    no_bottleneck = {key: value for key, value in Network().state_dict().items()
                     if 'last_layer' not in key}
    no_bottleneck['head.mlp2.weight'] = torch.zeros(OUT, HIDDEN)
    return [(unshared, 'shared_head False'), (batch_norm, 'mlp.1.running_mean` has no place'),
            (no_bottleneck, 'head.mlp2.weight` has no place')]


@pytest.mark.parametrize('case', range(3))
def test_a_head_of_another_kind_is_left_out_as_a_whole_and_said_to_be(case):
    state, reason = broken_heads()[case]
    result = convert(state, 'mmpretrain')
    assert not any(key.startswith('head.') for key in result.state)
    assert set(result.left_out) == {f'student.{key}' for key in state if key.startswith('head.')}
    assert len(result.notes) == 1 and reason in result.notes[0]
    encoder = {key: value for key, value in state.items() if key.startswith('backbone.')}
    same(result.state, convert(encoder, 'mmpretrain').state)


def test_only_the_head_in_question_is_left_out(tmp_path):
    """iBOT's default: shared by the teacher, not by the student."""
    release(tmp_path / 'a.pth', shared=False)
    result = convert(read_checkpoint(tmp_path / 'a.pth').state, 'mmpretrain')
    heads = {key.partition('head.')[0] for key in result.state if 'head.' in key}
    assert heads == {'teacher.'}
    assert 'of the student' in result.notes[0]


@pytest.mark.parametrize('wrap', [
    lambda network: network.state_dict(),
    lambda network: {'state_dict': network.backbone.state_dict()},
    lambda network: network.backbone.state_dict(),
    lambda network: {'teacher': network.state_dict()},
    lambda network: {'state_dict': {f'module.{k}': v for k, v in network.state_dict().items()}},
])
def test_a_network_or_a_backbone_alone(tmp_path, wrap):
    network = Network()
    torch.save(wrap(network), tmp_path / 'a.pth')
    result = convert(read_checkpoint(tmp_path / 'a.pth').state, 'timm', encoder_only=True)
    same(result.state, network.backbone.state_dict())


@pytest.mark.parametrize('to', ['timm', 'mae', 'simmim'])
@pytest.mark.parametrize('encoder', [None, 'teacher', 'student'])
def test_one_encoder_goes_where_one_has_a_place(tmp_path, to, encoder):
    student, teacher = release(tmp_path / 'a.pth')
    result = convert(read_checkpoint(tmp_path / 'a.pth').state, to, encoder=encoder)
    wanted = student if encoder == 'student' else teacher
    alone = {f'backbone.{key}': value for key, value in wanted.backbone.state_dict().items()}
    same({key: value for key, value in result.state.items() if 'mask_token' not in key},
         {key: value for key, value in convert(alone, to).state.items() if 'mask_token' not in key})
    assert f'of teacher and student, the {encoder or "teacher"} was converted' in result.notes
    other = 'teacher' if encoder == 'student' else 'student'
    assert f'{other}.backbone.cls_token' in result.left_out


def test_an_encoder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match='no teacher, only one encoder'):
        convert(Network().state_dict(), 'timm', encoder='teacher')
    with pytest.raises(InputError, match='a teacher but no student'):
        convert({f'teacher.{k}': v for k, v in Network().state_dict().items()}, 'mmpretrain',
                encoder='student')
    with pytest.raises(InputError, match="encoder='ema' is unknown"):
        convert(Network().state_dict(), 'timm', encoder='ema')


def test_other_transformers_are_refused():
    """iBOT's Swin: stages of blocks."""
    state = Network().state_dict()
    state['backbone.layers.0.blocks.0.norm1.weight'] = torch.zeros(1)
    with pytest.raises(InputError, match='a plain vision transformer lacks'):
        convert(state, 'mmpretrain')


def test_namings_are_told_apart():
    assert detect_naming(ours().state_dict()) == 'mmpretrain'
    assert detect_naming(Network().state_dict()) == 'ibot'
    assert detect_naming(Network(masks=True, patches=False).state_dict()) == 'ibot'
    assert detect_naming(Network(patches=False).state_dict()) == 'dino'
    assert detect_naming(Network().backbone.state_dict()) == 'timm'
    assert len({k for k in ours().state_dict() if k.startswith('backbone.layers.')}) == 12 * DEPTH
