"""Without the images of a shipped config, one line names their folder and how to get them."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from amt_mm.config import apply_overlay
from amt_mm.config.own_imagenet import use_own_imagenet
from amt_mm.errors import InputError

CONFIGS = Path(__file__).parents[1] / 'configs'
# One of each folder and data set. Scenes are painted; a study is no config.
FAMILIES = {(*path.relative_to(CONFIGS).parts[:-1], path.stem.rpartition('_')[2]): path
            for path in sorted(CONFIGS.rglob('*.py'))
            if not {'_base_', 'studies'} & set(path.parts) and 'scenes' not in path.stem}
# Data set, as the name of a config ends -> what the line says.
HOW = {
    'in1k': 'amt download imagenet --root data --archive FILE FILE FILE',
    'in1k-20pct': 'amt download imagenet --root data --archive FILE FILE FILE',
    **{name: f'amt download {name} --root data'
       for name in ('cifar10', 'cifar100', 'stl10', 'tiny-imagenet')},
    'clothing': 'git clone https://github.com/alexeygrigorev/clothing-dataset-small data/clothing',
    'folder': 'folder of the images', 'coco': 'https://cocodataset.org',
    'in9': 'does not exist', 'davis2017': 'curl -LO https://data.vision.ee.ethz.ch/csergi/share',
    'ade20k': 'curl -LO http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip',
    'coco-mini': 'give the folder of the images',
    'cifar10-jpg': 'give the folder of the images',
    'lvis-v1': 'https://www.lvisdataset.org'}


def test_all_families_are_here():
    assert {family[0] for family in FAMILIES} >= {
        'mae', 'simmim', 'maskfeat', 'attmask', 'clothing', 'benchmarks', 'mmdet', 'pretrain'}
    assert {family[-1] for family in FAMILIES} == set(HOW)


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES, ids='/'.join)
def test_missing_images_are_one_line(family, tmp_path, monkeypatch):
    if family[0] in ('mmdet', 'segmentation'):
        pytest.importorskip('mmdet' if family[0] == 'mmdet' else 'mmseg')
    cfg = Config.fromfile(FAMILIES[family])
    init_default_scope(cfg.default_scope)
    if family == ('segmentation', 'folder'):
        cfg.overlay.labelled.dataset.num_classes = 3  # which it leaves to the user
    apply_overlay(cfg)
    use_own_imagenet(cfg)
    monkeypatch.chdir(tmp_path)
    loaders = [cfg.get(f'{part}_dataloader') for part in ('train', 'val', 'test')]
    assert any(loaders)
    for loader in filter(None, loaders):
        with pytest.raises(InputError) as info:
            DATASETS.build(loader.dataset)
        said = str(info.value)
        assert 'data/' in said and HOW[family[-1]] in said and '\n' not in said
