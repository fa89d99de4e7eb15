"""Protocols on frozen features from the command line to the table, on folders."""

from argparse import Namespace

import cv2
import numpy as np
import pytest
from load_script import load_script
from video_toys import moving, write_video

from amt_mm.apis import evaluation, launch
from amt_mm.evaluation.rows import table_rows
from amt_mm.shipped import tools_folder

# Protocol -> settings for a toy, and the headings of its columns.
PROTOCOLS = {
    'unsupervised': (['test_cfg.pooling=mean'], ['NMI, %', 'ARI, %', 'clustering, %', 'RankMe',
                                                 'alignment', 'uniformity']),
    'linear-sweep': (['test_cfg.l2=[1e-3,1e-1]'],
                     ['linear sweep, [CLS], %', 'linear sweep, mean token, %',
                      'linear sweep, both, %']),
    'attentive': (['test_cfg.queries=8', 'test_cfg.epochs=40', 'test_cfg.lrs=[1e-3,1e-2]'],
                  ['attentive, EP, %', 'attentive, AIM, %']),
    'robustness': (['test_cfg.ratios=[.5]', 'test_cfg.grids=[4]'],
                   ['k-NN, whole, %', 'k-NN, half occluded, %', 'k-NN, salient half occluded, %',
                    'k-NN, other half occluded, %', 'k-NN, 4x4 shuffled, %']),
    'retrieval': ([], ['retrieval, mAP, %']),
    'segmentation': (['test_cfg.iterations=60', 'test_cfg.lr=.03'],
                     ['mIoU, %', 'pixel accuracy, %']),
    'video-segmentation': (['test_cfg.size=64'], ['J&F, %', 'J, %', 'F, %']),
}


@pytest.fixture
def folder(tmp_path):
    """Three classes that even random weights tell apart, by their brightness."""
    chance = np.random.RandomState(0)
    for part, count in (('train', 11), ('val', 5)):
        for name, level in (('dark', 50), ('middle', 120), ('light', 190)):
            target = tmp_path / 'images' / part / name
            target.mkdir(parents=True)
            for i in range(count):
                noise = chance.randint(-20, 20, (30 + i, 40, 3))
                cv2.imwrite(str(target / f'{i}.png'), (level + noise).astype(np.uint8))
    return tmp_path / 'images'


@pytest.fixture
def masked_folder(tmp_path):
    """Images of which one half is dark and the other light."""
    chance = np.random.RandomState(0)
    for part, count in (('train', 11), ('val', 5)):
        for name in ('images', 'masks'):
            (tmp_path / 'masked' / part / name).mkdir(parents=True)
        for i in range(count):
            mask = np.zeros((30 + i, 40), np.uint8)
            mask[:, 20:] = 1
            level = 50 + 140 * mask[..., None] + chance.randint(-20, 20, (30 + i, 40, 3))
            for name, image in (('images', level.astype(np.uint8)), ('masks', mask)):
                cv2.imwrite(str(tmp_path / 'masked' / part / name / f'{i}.png'), image)
    return tmp_path / 'masked'


@pytest.fixture
def video_folder(tmp_path):
    """A square of another colour that moves."""
    return write_video(tmp_path / 'videos', 'video', moving(64, 128, 5, [(1, 8, 8)], 40, 8))


@pytest.mark.slow
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_folders_become_a_row(protocol, folder, masked_folder, video_folder, tmp_path, monkeypatch):
    ran = []

    def run_here(tool, arguments, options, work_dir, *_):
        ran.append(tool)
        launch.build_runner(launch.load_config(str(arguments[0]), Namespace(
            cfg_options={}, work_dir=str(work_dir), launcher='none', local_rank=0))).test()

    monkeypatch.setattr(evaluation, 'run_tool', run_here)
    settings, headings = PROTOCOLS[protocol]
    folder = {'segmentation': masked_folder, 'video-segmentation': video_folder}.get(
        protocol, folder)
    size = [] if protocol == 'video-segmentation' else ['--image-size', '32']
    tool = load_script(tools_folder() / 'evaluate.py')
    run, = tool.plan(tool.parse_args([
        'none', '--data', str(folder), '--protocols', protocol, '--seeds', '0', '1', *size,
        '--work-dir', str(tmp_path / 'out'), '--cfg-options',
        'model.backbone.arch=deit-tiny', 'model.backbone.patch_size=8',
        'test_dataloader.num_workers=0', *settings]))
    metrics = [evaluation.evaluate(run['config'], run['checkpoint'], run['folder'])
               for _ in range(2)]
    # The second time the result is read.
    assert metrics[0] == metrics[1] and ran == ['test']
    (row, ), columns = table_rows([{**run, 'metrics': metrics[0]}])
    assert list(columns.values()) == ['pre-training', 'data set', *headings]
    shares = [row[name] for name, heading in columns.items() if heading.endswith(', %')]
    if protocol == 'robustness':  # black patches make every image dark
        shares = [shares[0], shares[-1]]
    assert all(80 < share <= 100 for share in shares)
