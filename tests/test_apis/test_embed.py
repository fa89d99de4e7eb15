"""embed: beside timm and the features of evaluation, interrupted and unbroken, with names."""

import multiprocessing
import signal

import cv2
import numpy as np
import pytest
import torch

from amt_mm.apis import embed as apis_embed
from amt_mm.apis.embed import embed
from amt_mm.apis.encoder import load_encoder
from amt_mm.checkpoints import write_checkpoint
from amt_mm.datasets import ImageFolder
from amt_mm.errors import InputError, RunError
from amt_mm.evaluation import extract_features
from amt_mm.evaluation.dataset_features import whole_image_tokens, whole_images

NAMES = ['0.png', 'b b/1.png', 'b b/2.png', 'test/c/3.png', 'test/c/5.png', 'train/c/6.png',
         'val/c/7.png']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Seven images at odd places, of which some look like splits; one file is none."""
    folder = tmp_path_factory.mktemp('photos')
    chance = np.random.default_rng(0)
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), chance.integers(0, 255, (61, 53, 3), np.uint8))
    (folder / 'test/c/4.jpg').write_bytes(b'no image')
    return folder


def read(path):
    with np.load(path) as file:
        return file['names'].tolist(), torch.from_numpy(file['features'])


def inputs(checkpoint, folder, size):
    """All readable images as the evaluation of this checkpoint sees them, and its model."""
    loaded = load_encoder(checkpoint, size)
    dataset = ImageFolder(data_root=str(folder), split=None, with_label=False,
                          skip_unreadable=True, pipeline=loaded.pipeline)
    return loaded.model, list(whole_images(loaded.model, dataset))


@pytest.mark.slow
def test_timm_names_give_the_features_of_timm(folder, tmp_path, capsys):
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    theirs = timm.create_model('vit_tiny_patch16_224', num_classes=5, img_size=48).eval()
    write_checkpoint(tmp_path / 'timm.safetensors', theirs.state_dict())
    done = embed(tmp_path / 'timm.safetensors', folder, tmp_path / 'a.npz', 'patches',
                 image_size=48, batch_size=3, workers=0)
    assert done == ((7, 9, 192), 'float32', 'all patch tokens of block 11, after the final norm', 1)
    assert 'test/c/4.jpg: unreadable image' in capsys.readouterr().err
    embed(tmp_path / 'timm.safetensors', folder, tmp_path / 'cls.npz', image_size=48, workers=0)
    images, = inputs(tmp_path / 'timm.safetensors', folder, 48)[1]
    with torch.no_grad():
        tokens = theirs.forward_features(images)
    names, features = read(tmp_path / 'a.npz')
    assert names == NAMES
    torch.testing.assert_close(features, tokens[:, 1:], rtol=0, atol=1e-5)
    torch.testing.assert_close(read(tmp_path / 'cls.npz')[1], tokens[:, 0], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_mae_gives_the_mean_that_evaluation_measures(checkpoint, folder, tmp_path):
    done = embed(checkpoint, folder, tmp_path / 'a.npz', workers=1)
    assert done.what.startswith('the mean of the patch tokens of block 1')
    model, batches = inputs(checkpoint, folder, None)
    expected = extract_features(model, batches, lambda x: whole_image_tokens(model, x))['mean']
    names, features = read(tmp_path / 'a.npz')
    assert names == NAMES and torch.equal(features, expected)


@pytest.mark.slow
def test_interrupted_anywhere_and_resumed_equals_unbroken(checkpoint, folder, tmp_path,
                                                          monkeypatch):
    # The file that is no image is the first of a batch, or within one.
    for size in (2, 5):
        how = dict(tokens='both', blocks=[0, 1], batch_size=size, workers=0)
        whole, broken = tmp_path / f'whole{size}.npz', tmp_path / f'broken{size}.npz'
        embed(checkpoint, folder, whole, **how)
        encode, batches = apis_embed._features, -(-8 // size)
        for run in range(batches):
            calls = []

            def once(*given, calls=calls, encode=encode):
                if calls:
                    raise KeyboardInterrupt
                calls.append(given)
                return encode(*given)

            monkeypatch.setattr(apis_embed, '_features', once)
            try:
                embed(checkpoint, folder, broken, **how)
            except KeyboardInterrupt:
                assert run < batches - 1 and not broken.exists()
            monkeypatch.setattr(apis_embed, '_features', encode)
        assert broken.read_bytes() == whole.read_bytes()
        assert not list(tmp_path.glob('*.parts'))


@pytest.mark.slow
def test_several_processes_give_the_features_of_one(checkpoint, folder, tmp_path):
    how = dict(tokens='both', batch_size=2, workers=0)
    one = embed(checkpoint, folder, tmp_path / 'one.npz', **how)
    # Four batches, of which the file that is no image is in the third; and more processes than
    # batches.
    for processes in (2, 5):
        path = tmp_path / f'{processes}.npz'
        assert embed(checkpoint, folder, path, processes=processes, **how) == one
        assert path.read_bytes() == (tmp_path / 'one.npz').read_bytes()
    assert not list(tmp_path.glob('*.parts'))


def test_loaders_of_spawned_processes_are_forked(checkpoint, folder, tmp_path, monkeypatch):
    # As where an encoding process was itself spawned.
    monkeypatch.setattr(multiprocessing.context._default_context, '_actual_context',
                        multiprocessing.get_context('spawn'))
    # A process that is not forked would know nothing of it.
    monkeypatch.setattr(apis_embed._ReadableImages, '__getitem__', lambda _, i: (i, 'gone'))
    with pytest.raises(InputError, match='none of its .* images can be read'):
        embed(checkpoint, folder, tmp_path / 'a.npz', workers=1)


def test_a_link_that_leads_nowhere_is_named(checkpoint, tmp_path, capsys):
    (tmp_path / 'photos').mkdir()
    cv2.imwrite(str(tmp_path / 'photos/a.png'), np.zeros((61, 53, 3), np.uint8))
    (tmp_path / 'photos/b.png').symlink_to('nowhere')
    assert embed(checkpoint, tmp_path / 'photos', tmp_path / 'a.npz', workers=0).left_out == 1
    assert 'left out: ' in (said := capsys.readouterr().err) and 'photos/b.png' in said
    assert read(tmp_path / 'a.npz')[0] == ['a.png']


@pytest.mark.slow
def test_a_process_that_is_killed_is_one_line(checkpoint, folder, tmp_path, monkeypatch):
    class Pool(apis_embed.ProcessPoolExecutor):
        def submit(self, function, /, *args):
            return super().submit(signal.raise_signal, signal.SIGKILL)

    monkeypatch.setattr(apis_embed, 'ProcessPoolExecutor', Pool)
    monkeypatch.setattr(apis_embed._ReadableImages, '__getitem__',
                        lambda *_: signal.raise_signal(signal.SIGKILL))
    for how in (dict(processes=2, workers=0), dict(workers=1)):
        with pytest.raises(RunError, match='a process was killed, .*; the same command continues'):
            embed(checkpoint, folder, tmp_path / f'{len(how)}.npz', batch_size=2, **how)


def test_shares_are_whole_batches():
    for images, size, processes in ((8, 2, 2), (7, 3, 2), (5, 9, 4), (101, 8, 3)):
        shares = apis_embed._shares(images, size, processes)
        assert [row for share in shares for row in share] == list(range(images))
        assert all(share.start % size == 0 for share in shares) and len(shares) <= processes
        batches = [-(-len(share) // size) for share in shares]
        assert max(batches) - min(batches) <= 1


@pytest.mark.slow
def test_parts_of_other_images_or_settings_are_refused(checkpoint, folder, tmp_path, monkeypatch):
    out = tmp_path / 'a.npz'
    with monkeypatch.context() as patch:
        patch.setattr(apis_embed, 'write_features', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            embed(checkpoint, folder, out, workers=0)
    for how, words in ((dict(half=True, batch_size=3), 'half, batch_size'),
                       (dict(tokens='cls'), 'tokens'), (dict(blocks=[0]), 'blocks')):
        with pytest.raises(InputError, match=f'begun with other {words}:'):
            embed(checkpoint, folder, out, **how)
    (tmp_path / 'photos').mkdir()
    cv2.imwrite(str(tmp_path / 'photos/0.png'), np.zeros((61, 53, 3)))
    with pytest.raises(InputError, match='begun with other images:'):
        embed(checkpoint, tmp_path / 'photos', out)
    torch.save(torch.load(checkpoint) | dict(more=1), checkpoint)
    with pytest.raises(InputError, match='begun with other checkpoint:'):
        embed(checkpoint, folder, out)


@pytest.mark.slow
def test_fp16_is_close_and_half_the_size(checkpoint, folder, tmp_path):
    embed(checkpoint, folder, tmp_path / 'a.npz', workers=0)
    assert embed(checkpoint, folder, tmp_path / 'b.npz', half=True, workers=0).dtype == 'float16'
    full, half = read(tmp_path / 'a.npz')[1], read(tmp_path / 'b.npz')[1]
    assert half.dtype == torch.float16 and not torch.equal(half, full.half())
    torch.testing.assert_close(half.float(), full, rtol=.02, atol=.02)


def test_what_it_refuses(checkpoint, folder, tmp_path):
    out = tmp_path / 'a.npz'
    with pytest.raises(InputError, match='nowhere: no such folder'):
        embed(checkpoint, tmp_path / 'nowhere', out)
    with pytest.raises(InputError, match='batch_size=0 must be at least 1'):
        embed(checkpoint, folder, out, batch_size=0)
    with pytest.raises(InputError, match='processes=0 must be at least 1'):
        embed(checkpoint, folder, out, processes=0)
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad/a.jpg').write_bytes(b'no image')
    with pytest.raises(InputError, match='bad: none of its 1 images can be read'):
        embed(checkpoint, tmp_path / 'bad', out, workers=0)
    out.touch()
    with pytest.raises(InputError, match='a.npz exists: .* --force'):
        embed(checkpoint, folder, out)


def test_features_that_are_not_finite_are_refused_by_name(checkpoint, folder, tmp_path):
    content = torch.load(checkpoint)
    content['state_dict']['backbone.ln1.weight'][3] = torch.inf
    torch.save(content, tmp_path / 'b.pth')
    with pytest.raises(InputError, match='0.png: its features are not finite; check the weights'):
        embed(tmp_path / 'b.pth', folder, tmp_path / 'a.npz', workers=0)


@pytest.mark.slow
def test_an_encoder_without_cls(folder, tmp_path):
    from mmpretrain.models import VisionTransformer
    vit = VisionTransformer('deit-tiny', 48, 16, out_type='raw', with_cls_token=False)
    state = {f'backbone.{name}': value for name, value in vit.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    with pytest.raises(InputError, match='no .CLS.: use --tokens mean or patches'):
        embed(tmp_path / 'a.pth', folder, tmp_path / 'a.npz', 'cls', image_size=48)
    done = embed(tmp_path / 'a.pth', folder, tmp_path / 'a.npz', image_size=48, workers=0)
    assert done.shape == (7, 192) and done.what.startswith('the mean')
