"""docs/add_a_protocol.md: its files evaluate an encoder, from the command line to the table."""

import re
import shutil
from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from load_script import load_script
from sklearn.neighbors import KNeighborsClassifier

from amt_mm import shipped
from amt_mm.apis import evaluation, launch
from amt_mm.evaluation.rows import table_rows
from amt_mm.protocols import PROTOCOLS, Protocol
from amt_mm.registry import LOOPS

PAGE = (Path(__file__).parents[2] / 'docs/add_a_protocol.md').read_text()
LOOP, ENTRY, BASE, CONFIG = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
FILES = re.findall(r'^\| `(\S+?)` \|', PAGE, re.MULTILINE)


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The files of the page where they belong, in a copy of the configs."""
    (name, entry), = eval(f'{{{ENTRY}}}', {'Protocol': Protocol}).items()
    monkeypatch.setitem(PROTOCOLS, name, entry)
    loop, _, base, config, _ = FILES
    assert entry.loop == loop.removesuffix('.py').replace('/', '.')
    shutil.copytree(shipped.configs_folder() / '_base_', tmp_path / 'configs/_base_')
    for path, text in ((loop, LOOP), (base, BASE), (config, CONFIG)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.setattr(evaluation, 'configs_folder', lambda: tmp_path / 'configs')
    load_script(tmp_path / loop)
    yield
    del LOOPS._module_dict['NearestMeanTestLoop']


@pytest.fixture
def folder(tmp_path):
    chance = np.random.RandomState(0)
    for part, count in (('train', 4), ('val', 6)):
        for number, name in enumerate(('dark', 'light', 'middle')):
            target = tmp_path / 'images' / part / name
            target.mkdir(parents=True)
            for i in range(count):
                image = 100 + 8 * number + chance.randint(-100, 100, (30, 40, 3))
                cv2.imwrite(str(target / f'{i}.png'), image.astype(np.uint8))
    return tmp_path / 'images'


def test_it_needs_at_most_five_files():
    assert len(FILES) == len(set(FILES)) <= 5


@pytest.mark.slow
def test_an_encoder_is_evaluated_by_it(added, folder, tmp_path, monkeypatch):
    runners = []

    def run_here(tool, arguments, options, work_dir, *_):
        assert tool == 'test'
        runners.append(launch.build_runner(launch.load_config(str(arguments[0]), Namespace(
            cfg_options={}, work_dir=str(work_dir), launcher='none', local_rank=0))))
        runners[0].test()

    monkeypatch.setattr(evaluation, 'run_tool', run_here)
    tool = load_script(shipped.tools_folder() / 'evaluate.py')
    run, = tool.plan(tool.parse_args([
        'none', '--data', str(folder), '--protocols', 'nearest-mean', '--seeds', '0', '1',
        '--image-size', '32', '--work-dir', str(tmp_path / 'out'), '--cfg-options',
        'model.backbone.arch=deit-tiny', 'model.backbone.patch_size=8',
        'test_dataloader.num_workers=0']))
    metrics = evaluation.evaluate(run['config'], run['checkpoint'], run['folder'])
    (train, labels), (test, wanted) = (
        encoded(runners[0].model, loader.dataset) for loader in
        (runners[0].test_loop.train_dataloader, runners[0].test_loop.dataloader))
    means = np.stack([train[labels == label].mean(0) for label in range(3)])
    nearest = KNeighborsClassifier(1, metric='cosine').fit(means, range(3))
    assert metrics == {'nearest_mean/top1': pytest.approx(100 * nearest.score(test, wanted))}
    assert 40 < metrics['nearest_mean/top1'] < 100
    rows, columns = table_rows([{**run, 'metrics': metrics}])
    assert list(columns.values()) == ['pre-training', 'data set', 'nearest mean, %']
    assert rows[0]['nearest-mean:nearest_mean/top1'] == pytest.approx(
        metrics['nearest_mean/top1'], abs=.01)


@torch.no_grad()
def encoded(model, dataset):
    """Normalised [CLS] and class of one image at a time."""
    model.eval()
    features, labels = [], []
    for item in (dataset[i] for i in range(len(dataset))):
        inputs = model.data_preprocessor(
            dict(inputs=item['inputs'][None], data_samples=[item['data_samples']]))['inputs']
        feature = model.backbone(inputs)[-1][0, 0]
        features.append((feature / feature.norm()).numpy())
        labels.append(int(item['data_samples'].gt_label))
    return np.stack(features), np.array(labels)


def test_public_data_sets_need_no_config_of_their_own(added):
    tool = load_script(shipped.tools_folder() / 'evaluate.py')
    data, protocol, config, options = tool.choose_configs(
        tool.parse_args(['none', '--data', 'cifar100', '--protocols', 'nearest-mean']),
        tool.describe(Path('none'), None))[0]
    cfg = evaluation.adapt_config(config, tool.describe(Path('none'), None), options)
    assert (data, protocol) == ('cifar100', 'nearest-mean')
    assert cfg.test_dataloader.dataset.type == 'amt_mm.CIFAR100'
    assert cfg.test_cfg.train_dataloader.dataset.split == 'train'
    assert evaluation.protocol_of(config) == protocol
