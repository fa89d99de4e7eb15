"""tools/evaluate.py: from a checkpoint to its row."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from forked_script import run_script
from html_page import Page
from landmark_toys import write_landmarks
from load_script import load_script
from mmengine.config import Config
from mmpretrain.models import VisionTransformer
from said_soon import said_soon
from video_toys import moving, write_video

from amt_mm.apis.claims import claim
from amt_mm.checkpoints.digest import checkpoint_digest
from amt_mm.errors import InputError
from amt_mm.shipped import tools_folder

ARCH = 'dict(embed_dims=24, feedforward_channels=48, num_heads=3, num_layers=2)'
TOOL = tools_folder() / 'evaluate.py'


@pytest.fixture
def tool():
    return load_script(TOOL)


@pytest.fixture
def checkpoint(tmp_path):
    """A small encoder that says of itself that it is MAE + AMT."""
    encoder = VisionTransformer(dict(embed_dims=24, num_layers=2, num_heads=3,
                                     feedforward_channels=48), 32, 8)
    torch.nn.init.normal_(encoder.cls_token)
    config = (f"model = dict(type='amt_mm.AMTMAE', backbone=dict(arch={ARCH}, img_size=32, "
              "patch_size=8))\ndata_preprocessor = dict(mask_generator=dict("
              "type='amt_mm.AMTMaskGenerator', mask_ratio=0.45, throw_ratio=0.4))\n"
              "custom_hooks = [dict(type='amt_mm.SaliencyUpdateHook')]\n")
    path = tmp_path / 'pretrained.pth'
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in encoder.state_dict().items()},
                'meta': {'cfg': config}}, path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes that even random weights tell apart: dark and light."""
    chance = np.random.RandomState(0)
    for part, count in (('train', 21), ('val', 5)):
        for name, level in (('dark', 60), ('light', 190)):
            target = tmp_path / 'images' / part / name
            target.mkdir(parents=True)
            for i in range(count):
                noise = chance.randint(-20, 20, (30 + i, 40, 3))
                cv2.imwrite(str(target / f'{i}.png'), (level + noise).astype(np.uint8))
    return tmp_path / 'images'


@pytest.mark.slow
def test_a_row_from_a_folder_and_none_of_it_twice(checkpoint, folder, tmp_path):
    command = [TOOL, checkpoint, '--data', folder, '--protocols', 'knn', 'linear',
               'lowshot', '--work-dir', tmp_path / 'out', '--jobs', '2', '--report',
               '--cfg-options',
               'train_cfg.max_epochs=2', 'train_dataloader.batch_size=16',
               'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0',
               'test_dataloader.num_workers=0', 'test_cfg.shots=(1, 5)']
    done = run_script(*command, timeout=300)
    assert done.returncode == 0, done.stderr
    row, = json.loads((tmp_path / 'out/table.json').read_text())['rows']
    assert (row['pretraining'], row['data']) == ('MAE + AMT', 'images/')
    assert row['knn:knn/top1_k20'] == 100
    assert 0 <= row['linear:accuracy/top1'] <= 100
    # An option goes where there is one: linear probing has no shots.
    assert sum('lowshot' in name for name in row) == 2
    assert '| MAE + AMT    |' in (tmp_path / 'out/table.md').read_text()
    run, = tmp_path.glob('out/mae_amt/*/images/knn/seed_0')
    assert 'img_size=32' in (run / 'settings/config.py').read_text()

    # Of the three protocols, k-NN and linear answer; attentive probes are not among them.
    page = Page((tmp_path / 'out/report.html').read_text())
    assert {'MAE + AMT: k-NN', 'MAE + AMT: linear', 'linear, images/'} <= set(page.texts)
    assert sum('another --out' in text for text in page.texts) == 1
    assert any('.png, MAE + AMT: ' in image['alt'] for image in page.images())

    # Finished runs are read, not repeated.
    (run / 'result.json').write_text(json.dumps({'knn/top1_k20': 12.5}))
    assert run_script(*command).returncode == 0
    row, = json.loads((tmp_path / 'out/table.json').read_text())['rows']
    assert row['knn:knn/top1_k20'] == 12.5


def test_a_failure_is_said_while_other_runs_go_on(tool, monkeypatch, capsys, tmp_path):
    said = []

    def evaluate(config, checkpoint, folder, *args, **kwargs):
        if folder.name == '0':
            raise InputError('no such image')
        said.append(said != [] or said_soon(
            capsys, f'failed: {tmp_path}/0: no such image'))
        return {'knn/top1_k20': 50.}

    monkeypatch.setattr(tool, 'plan', lambda args: [dict(
        pretraining='a', data='b', protocol='knn', seed=seed, config=Config(), checkpoint='none',
        folder=tmp_path / str(seed), paper=None) for seed in range(3)])
    monkeypatch.setattr(tool.evaluation, 'evaluate', evaluate)
    monkeypatch.setattr('sys.argv', ['evaluate.py', 'none', '--data', 'stl10', '--work-dir',
                                     str(tmp_path)])
    with pytest.raises(SystemExit, match='2'):
        tool.main()
    assert said == [True, True]
    # What finished is in the table.
    assert '50.0' in capsys.readouterr().out


@pytest.fixture
def images_are_there(tool, monkeypatch):
    """Plans alone are tested: the public data sets need not be here."""
    monkeypatch.setattr(tool.evaluation, 'check_images', lambda cfg: None)


def plan(tool, *arguments):
    return tool.plan(tool.parse_args([str(argument) for argument in arguments]))


@pytest.mark.slow
def test_runs_are_planned_with_the_transformer_of_the_checkpoint(tool, checkpoint, tmp_path,
                                                                 images_are_there):
    runs = plan(tool, checkpoint, '--data', 'stl10', 'cifar100', '--protocols', 'finetune', 'knn',
                '--seeds', '3', '4', '--work-dir', tmp_path)
    assert [(r['data'], r['protocol'], r['seed']) for r in runs] == [
        ('stl10', 'finetune', 3), ('stl10', 'finetune', 4), ('stl10', 'knn', 3),
        ('cifar100', 'finetune', 3), ('cifar100', 'finetune', 4), ('cifar100', 'knn', 3)]
    assert len({r['folder'] for r in runs}) == 6
    for r in runs:
        assert r['config'].model.backbone.arch.num_heads == 3
        assert r['config'].model.backbone.patch_size == 8
        assert r['config'].model.backbone.img_size == 32
        assert r['config'].randomness.seed == r['seed']
    assert runs[0]['config'].model.backbone.drop_path_rate == .1
    assert runs[3]['config'].model.head.num_classes == 100


@pytest.mark.slow
def test_teacher_and_student_are_rows_and_folders_of_their_own(tool, checkpoint, tmp_path,
                                                              images_are_there):
    content = torch.load(checkpoint)
    content['state_dict'].update({f'teacher.{k}': v for k, v in content['state_dict'].items()})
    torch.save(content, tmp_path / 'both.pth')
    runs = [plan(tool, tmp_path / 'both.pth', '--data', 'stl10', '--protocols', 'knn', *more)[0]
            for more in ([], ['--encoder', 'student'], ['--encoder', 'teacher'])]
    assert [run['pretraining'] for run in runs] == [
        'MAE + AMT', 'MAE + AMT, student', 'MAE + AMT, teacher']
    assert [run['config'].default_hooks.pretrained.get('encoder') for run in runs] == [
        None, 'student', 'teacher']
    assert len({run['folder'] for run in runs}) == 3
    with pytest.raises(InputError, match='pretrained.pth: it holds no teacher'):
        plan(tool, checkpoint, '--data', 'stl10', '--encoder', 'teacher')


@pytest.mark.slow
def test_linear_on_the_last_blocks_is_a_protocol_of_its_own(tool, checkpoint, images_are_there):
    runs = plan(tool, checkpoint, '--data', 'stl10', '--protocols', 'linear', 'linear4',
                '--seeds', '0', '1', '--cfg-options', 'model.backbone.last_blocks=2')
    assert [(r['protocol'], r['seed']) for r in runs] == [
        ('linear', 0), ('linear', 1), ('linear4', 0), ('linear4', 1)]
    assert len({r['folder'] for r in runs}) == 4
    assert runs[2]['config'].model.backbone.last_blocks == 2
    assert 'last_blocks' not in runs[0]['config'].model.backbone
    config = tools_folder().parent / 'configs/benchmarks/linear'
    run, = plan(tool, checkpoint, '--configs',
                config / 'vit-base-p16_8xb256-last4-coslr-100e_cifar10.py')
    assert (run['protocol'], run['data']) == ('linear4', 'cifar10')


@pytest.mark.slow
def test_image_size_and_labels(tool, checkpoint, images_are_there):
    another = another_seed(checkpoint)
    first, second, third = plan(
        tool, checkpoint, checkpoint, another, '--data', 'stl10', '--protocols', 'knn',
        '--image-size', 96, '--labels', 'a', 'b', 'a')
    assert first['config'].model.backbone.img_size == 96
    assert [r['pretraining'] for r in (first, second, third)] == ['a', 'b', 'a']
    # Ratios are no subfolder, and no label leads out of the work folder.
    run, = plan(tool, checkpoint, '--data', 'stl10', '--protocols', 'knn', '--labels',
                '../AMT 45/40')
    digest = checkpoint_digest(checkpoint)
    assert run['folder'].parts[-5:] == ('..-amt_45-40', digest[:8], 'stl10', 'knn', 'seed_0')
    # Three runs, three folders.
    assert len({r['folder'] for r in (first, second, third)}) == 3


@pytest.mark.parametrize('label', ['..', '.', ' ', '+'])
def test_a_label_that_names_no_folder_is_refused(tool, checkpoint, images_are_there, label):
    with pytest.raises(InputError, match='need a folder of a name of their own'):
        plan(tool, checkpoint, '--data', 'stl10', '--protocols', 'knn', '--labels', label)


def another_seed(checkpoint):
    content = torch.load(checkpoint)
    content['meta']['cfg'] += 'randomness = dict(seed=1)\n'
    path = checkpoint.with_name('seed_1.pth')
    torch.save(content, path)
    return path


@pytest.mark.slow
def test_the_folder_of_a_run_is_that_of_its_checkpoint(tool, checkpoint, tmp_path,
                                                       images_are_there):
    other = another_seed(checkpoint)

    def folders(*checkpoints):
        runs = plan(tool, *checkpoints, '--data', 'stl10', '--protocols', 'knn', '--labels',
                    *['a'] * len(checkpoints), '--work-dir', tmp_path)
        return {run['checkpoint']: run['folder'] for run in runs}

    both = folders(checkpoint, other)
    assert both == folders(other, checkpoint) == {**folders(checkpoint), **folders(other)}
    assert len(set(both.values())) == 2
    # Earlier versions numbered them.
    older = tmp_path / 'a/1/stl10/knn/seed_0'
    claim(older, Config(dict(evaluated=dict(checkpoint=checkpoint_digest(checkpoint)))))
    assert folders(checkpoint, other) == {checkpoint: older, other: both[other]}
    # A checkpoint averaged with itself would have no deviation.
    with pytest.raises(InputError, match='share the folder .* each checkpoint and'):
        folders(checkpoint, checkpoint)


@pytest.mark.slow
def test_only_seeds_of_one_config_are_averaged_unasked(tool, checkpoint, tmp_path,
                                                       images_are_there):
    """Another mask ratio, another epoch, or nothing known: each would get a ± of its own."""
    content = torch.load(checkpoint)

    def another(name, *change):
        path = tmp_path / name / 'pretrained.pth'
        path.parent.mkdir()
        config = content['meta']['cfg'].replace(*change) if change else ''
        torch.save({**content, 'meta': {'cfg': config} if change else {}}, path)
        return path

    seed = another('seed', '\n', '\nrandomness = dict(seed=1)\n', 1)
    first, second = plan(tool, checkpoint, seed, '--data', 'stl10', '--protocols', 'knn')
    assert first['pretraining'] == second['pretraining'] == 'MAE + AMT'
    other = another('other', 'img_size=32', 'img_size=32, drop_path_rate=0.1')
    epoch = tmp_path / 'epoch_2.pth'
    torch.save({**content, 'epoch': 2}, epoch)
    for one in (other, epoch):
        with pytest.raises(InputError, match='both be called MAE [+] AMT and averaged.*--lab'):
            plan(tool, checkpoint, one, '--data', 'stl10')
        asked = plan(tool, checkpoint, one, '--data', 'stl10', '--protocols', 'knn', '--labels',
                     'a', 'a')
        assert [run['pretraining'] for run in asked] == ['a', 'a']
    del content['meta']['cfg']
    content['state_dict'] = standard_encoder()
    with pytest.raises(InputError, match='would both be called pretrained and averaged'):
        plan(tool, another('x'), another('y'), '--data', 'stl10')


def standard_encoder():
    """A transformer that is known by its shapes."""
    with torch.device('meta'):
        encoder = VisionTransformer('deit-tiny', 224, 16)
    return {f'backbone.{k}': torch.zeros(v.shape) for k, v in encoder.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize('given', ['..', '.', 'images/../images'])
def test_results_of_a_folder_stay_in_theirs(tool, checkpoint, folder, tmp_path, images_are_there,
                                            monkeypatch, given):
    monkeypatch.chdir({'..': folder / 'train', '.': folder}.get(given, tmp_path))
    run, = plan(tool, checkpoint, '--data', given, '--protocols', 'knn', '--work-dir', tmp_path)
    assert run['data'] == 'images/'
    digest = checkpoint_digest(checkpoint)
    assert run['folder'] == tmp_path / 'mae_amt' / digest[:8] / 'images/knn/seed_0'


@pytest.mark.slow
def test_unasked_a_folder_is_encoded_once(tool, checkpoint, folder, tmp_path, images_are_there):
    runs = plan(tool, checkpoint, '--data', folder, 'cifar10', '--work-dir', tmp_path)
    assert [(run['data'], run['protocol']) for run in runs] == [
        ('images/', 'knn'), ('images/', 'linear-sweep'), ('cifar10', 'knn'), ('cifar10', 'linear')]


def test_unasked_a_data_set_of_other_labels_gets_the_protocol_on_them(tool):
    args = tool.parse_args(['none', '--data', 'ade20k', 'davis2017', 'in9', 'stl10'])
    chosen = tool.choose_configs(args, tool.describe(Path('none')))
    assert [(data, protocol) for data, protocol, *_ in chosen] == [
        ('ade20k', 'segmentation'), ('davis2017', 'video-segmentation'), ('in9', 'backgrounds'),
        ('stl10', 'knn'), ('stl10', 'linear')]


def test_a_folder_that_holds_one_class_is_refused(tool, checkpoint, folder):
    with pytest.raises(InputError, match='only one class, images; is the folder one'):
        plan(tool, checkpoint, '--data', folder.parent)


@pytest.mark.slow
def test_a_folder_of_queries_is_for_retrieval(tool, checkpoint, folder, tmp_path):
    oxford = write_landmarks(tmp_path / 'roxford5k')
    run, = plan(tool, checkpoint, '--data', oxford, '--protocols', 'retrieval')
    for loader, split in ((run['config'].test_cfg.train_dataloader, 'database'),
                          (run['config'].test_dataloader, 'query')):
        assert (loader.dataset.type, loader.dataset.data_root, loader.dataset.split) == (
            'amt_mm.RevisitedLandmarks', str(oxford), split)
        assert loader.dataset.pipeline[1].type == 'amt_mm.CropToBox'
    run, = plan(tool, checkpoint, '--data', folder, '--protocols', 'retrieval')
    assert run['config'].test_dataloader.dataset.type == 'amt_mm.ImageFolder'
    with pytest.raises(InputError, match='has lists of queries .* --protocols retrieval'):
        plan(tool, checkpoint, '--data', oxford)


@pytest.mark.slow
def test_frames_of_videos_keep_their_ratio_of_sides(tool, checkpoint, tmp_path):
    write_video(tmp_path / 'mine', 'video', moving(35, 53, 3, [(1, 3, 5)], 11, 4))
    options = ('--data', tmp_path / 'mine', '--protocols', 'video-segmentation')
    run, = plan(tool, checkpoint, *options)
    dataset = run['config'].test_dataloader.dataset
    assert (dataset.type, dataset.data_root) == ('amt_mm.DavisVideos', str(tmp_path / 'mine'))
    assert [transform.type for transform in dataset.pipeline] == [
        'amt_mm.LoadMask', 'amt_mm.LoadImage', 'PackInputs']
    # That of the pre-training, where the positions are.
    assert run['config'].model.backbone.img_size == 32
    with pytest.raises(InputError, match='--image-size 64: frames of videos keep their ratio'):
        plan(tool, checkpoint, *options, '--image-size', '64')


@pytest.mark.slow
@pytest.mark.parametrize('masks', ['masks', 'annotations'])
def test_a_folder_of_masks_is_for_segmentation(tool, checkpoint, folder, masks):
    for part in ('train', 'val'):
        (folder / part / 'dark').rename(folder / part / 'images')
        (folder / part / 'light').rename(folder / part / masks)
    run, = plan(tool, checkpoint, '--data', folder, '--protocols', 'segmentation')
    assert run['config'].test_dataloader.dataset.data_root == str(folder)
    for loader in (run['config'].test_dataloader, run['config'].test_cfg.train_dataloader):
        assert loader.dataset.pipeline[2].scale == (32, 32)
    with pytest.raises(InputError, match='has images and masks, .* --protocols segmentation'):
        plan(tool, checkpoint, '--data', folder)
    (folder / 'val' / masks / '3.png').unlink()
    with pytest.raises(InputError, match=r'val/images/3.png: has no mask .*\(1 of 26 images'):
        plan(tool, checkpoint, '--data', folder, '--protocols', 'segmentation')


@pytest.mark.slow
def test_runs_that_would_share_a_folder_are_refused(tool, checkpoint, images_are_there):
    with pytest.raises(InputError, match='two runs would share the folder'):
        plan(tool, checkpoint, checkpoint, '--data', 'stl10', '--labels', 'A', 'a')


@pytest.mark.slow
def test_the_papers_figures_are_of_its_own_transformer_and_data(
        tool, checkpoint, folder, images_are_there):
    (folder.parent / 'cifar10').symlink_to(folder)
    runs = plan(tool, checkpoint, '--data', folder.parent / 'cifar10', 'cifar100')
    assert [run['data'] for run in runs] == ['cifar10/'] * 2 + ['cifar100'] * 2
    # A transformer of 24 channels is not ViT-B/16.
    assert {run['paper'] for run in runs} == {None}


def test_random_weights_are_a_row_of_configs(tool, images_are_there):
    config = tools_folder().parent / 'configs/benchmarks/knn/vit-mini-p8_knn_clothing.py'
    run, = plan(tool, 'none', '--configs', config)
    assert (run['pretraining'], run['data'], run['protocol']) == ('random init', 'clothing', 'knn')
    assert run['config'].model.backbone.arch.embed_dims == 192


@pytest.mark.slow
@pytest.mark.parametrize('arguments, message', [
    (['--data', 'cifar20'], 'cifar20: no such folder or public data set; did you mean cifar10'),
    (['--data', 'stl10'], 'data/stl10_binary: .* amt download stl10'),
    (['--data', 'stl10', '--image-size', '30'], 'images of 30 pixels .* of the patch size 8'),
    (['--data', 'stl10', '--image-size', '0'], 'image_size=0: give the side of square images'),
    (['--configs', 'no.py'], 'no.py: there is no such file'),
    (['--data', 'stl10', '--cfg-options', 'train_cfg.max_epoch=3'],
     'train_cfg.max_epoch: none of the chosen configs')])
def test_bad_input_is_refused_before_the_first_run(tool, checkpoint, arguments, message):
    with pytest.raises(InputError, match=message):
        plan(tool, checkpoint, *arguments)


@pytest.mark.parametrize('arguments', [[], ['--data', 'stl10', '--configs', 'a.py'],
                                       ['--data', 'stl10', '--labels', 'a', 'b']])
def test_contradicting_arguments_are_usage_errors(tool, checkpoint, arguments, capsys):
    with pytest.raises(SystemExit):
        plan(tool, checkpoint, *arguments)
    assert 'error:' in capsys.readouterr().err
