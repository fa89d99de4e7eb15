"""The page of an evaluation: each picture in its place, and a sentence for what is missing."""

import base64
import io
import json

import cv2
import numpy as np
import pytest
import torch
from html_page import Page
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from amt_mm.apis.evaluation_report import write_report
from amt_mm.datasets import ImageFolder
from amt_mm.errors import InputError
from amt_mm.evaluation.kept import keep

COLOURS = {'train': [(200, 30, 40), (40, 180, 60), (50, 60, 210), (220, 200, 50)],
           'val': [(250, 120, 30), (120, 20, 130)]}


@pytest.fixture
def config(tmp_path):
    """Plain images of 16 x 24 pixels in two classes, on 2 x 3 patches."""
    for part, colours in COLOURS.items():
        for i, colour in enumerate(colours):
            folder = tmp_path / part / ('hat' if i % 2 == 0 else 'sock')
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f'{part}{i}.png'),
                        np.full((16, 24, 3), colour[::-1], np.uint8))
    init_default_scope('mmpretrain')

    def images(part):
        return dict(dataset=dict(
            type='amt_mm.ImageFolder', data_root=str(tmp_path / part), with_label=True,
            pipeline=[dict(type='amt_mm.LoadImage'), dict(type='PackInputs')]))

    return Config(dict(
        model=dict(backbone=dict(patch_size=8)), test_dataloader=images('val'),
        test_cfg=dict(train_dataloader=images('train')),
        data_preprocessor=dict(type='ClsDataPreprocessor', mean=[120., 110, 100],
                               std=[60., 50, 40], to_rgb=True)))


class Run:
    def __init__(self, folder):
        self.work_dir = str(folder)


def result(config, folder, protocol='knn', metrics=(('knn/top1_k20', 50.), ), **changes):
    return {**dict(pretraining='MAE', data='photos/', protocol=protocol, seed=0, paper=None,
                   checkpoint='a.pth', config=config, folder=folder, metrics=dict(metrics)),
            **changes}


def colours(page):
    """Mean colour of each picture of the page."""
    for image in page.images():
        data = base64.b64decode(image['src'].partition(',')[2])
        yield np.asarray(Image.open(io.BytesIO(data))).mean(axis=(0, 1))


def test_neighbours_are_the_images_that_the_run_found(config, tmp_path):
    # Of the folder in its order: hat 0, hat 2, sock 1, sock 3.
    keep(Run(tmp_path / 'run'), 'neighbours', rows=[1, 0], found=[[2, 0], [3, 1]],
         cosines=[[.9, .84], [.75, .5]], labels=[1, 0], found_labels=[[1, 0], [1, 0]],
         shares=[.25, .75], names=['hat', 'sock'], pooling='cls')
    page = Page(write_report(tmp_path / 'a.html', [result(config, tmp_path / 'run')]).read_text())
    train, val = COLOURS['train'], COLOURS['val']
    wanted = [val[1], train[1], train[0], val[0], train[3], train[2]]
    np.testing.assert_allclose(list(colours(page)), wanted, atol=4)
    places = [page.texts.index(text) for text in (
        'sock/val1.png, MAE', 'sock, 0.90', 'hat, 0.84', 'hat/val0.png, MAE', 'sock, 0.75',
        'hat, 0.50')]
    assert places == sorted(places)
    # Of four neighbours one sock is of its class, and a hat; at random it would be a half of four.
    assert ('MAE: 2 of 4 neighbours have the class of their image, where 2.0 would at random.'
            in page.texts)


def test_components_maps_curves_and_errors_of_all_encoders(config, tmp_path, monkeypatch):
    results = []
    listed = []
    find = ImageFolder._find_samples
    monkeypatch.setattr(ImageFolder, '_find_samples',
                        lambda self: listed.append(self.data_root) or find(self))
    for name in ('MAE', 'AMT'):
        run = Run(tmp_path / name)
        keep(run, 'tokens', rows=[0, 1], tokens=torch.randn(2, 6, 5), grid=[2, 3])
        keep(run, 'queries_ep', rows=[0, 1], maps=torch.rand(2, 7, 6).softmax(-1), grid=[2, 3])
        keep(run, 'predictions_attentive_ep_top1', metric='attentive/ep_top1',
             predictions=torch.tensor([0, 0, 1]), labels=torch.tensor([1, 1, 1]),
             names=['hat', 'sock'])
        keep(run, 'sweep_ep', lrs=[.001, .01], weight_decays=[0, 0], held_out=[30., 40])
        results.append(result(config, tmp_path / name, 'attentive', {'attentive/ep_top1': 60.},
                              pretraining=name))
    text = write_report(tmp_path / 'a.html', results).read_text()
    page = Page(text)
    alts = [image['alt'] for image in page.images()]
    assert len(alts) == 2 * 2 * 6 + 2 * 2
    assert alts[:6] == ['hat/val0.png, MAE, EP: image', 'hat/val0.png, MAE, EP: all queries',
                        *alts[2:6]] and all(': query ' in alt for alt in alts[2:6])
    assert alts[6] == 'hat/val0.png, AMT, EP: image' and alts[12] == 'sock/val1.png, MAE, EP: image'
    assert {'MAE: attentive, EP', 'AMT: attentive, EP', 'sock as hat, 2 of 3'} <= set(page.texts)
    assert 'attentive, EP, photos/' in page.texts and 'http:' not in text
    assert sum(name == 'path' for name, _ in page.tags) == 4  # two curves, two keys
    # Two encoders, two sections, one list of the files.
    assert listed == [str(tmp_path / 'val')]


def test_what_no_run_kept_is_a_sentence_that_tells_how_to_get_it(config, tmp_path):
    text = write_report(tmp_path / 'a.html', [result(config, tmp_path / 'run')]).read_text()
    page = Page(text)
    said = [text for text in page.texts if 'another --out' in text]
    assert len(said) == 5 and not page.images()
    for how in ('knn', 'attentive', 'linear attentive robustness'):
        assert any(f'run --protocols {how},' in sentence for sentence in said)
    assert '50.0' in page.texts and 'k-NN, %' in page.texts


def test_spread_and_published_figures_are_those_of_the_table(config, tmp_path):
    metrics = [{'accuracy/top1': value} for value in (56., 58.)]
    results = [result(config, tmp_path / str(i), 'linear', each, paper='MAE', data='in1k', seed=i)
               for i, each in enumerate(metrics)]
    for i, rates in enumerate(((10., 56.), (20., 58.))):
        folder = tmp_path / str(i) / 'x/vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').write_text('\n'.join(
            json.dumps({'accuracy/top1': value, 'step': 5 * epoch})
            for epoch, value in enumerate(rates, start=1)))
    page = Page(write_report(tmp_path / 'a.html', results).read_text())
    assert {'57.0 ± 1.4', '56.6', 'paper', 'linear, in1k'} <= set(page.texts)
    assert not any('Each figure is of one run' in text for text in page.texts)


def test_images_that_a_data_set_has_no_more_are_one_line(config, tmp_path):
    keep(Run(tmp_path / 'run'), 'tokens', rows=[0, 7], tokens=torch.randn(2, 6, 5), grid=[2, 3])
    with pytest.raises(InputError, match='showed image 7 of .*val, which has 2 images now'):
        write_report(tmp_path / 'a.html', [result(config, tmp_path / 'run')])


def test_a_sweep_of_another_protocol_has_a_curve_of_its_own(config, tmp_path):
    keep(Run(tmp_path / 'run'), 'sweep_odd', lrs=[.1, .2], held_out=[3., 4.])
    page = write_report(tmp_path / 'a.html', [result(config, tmp_path / 'run')])
    assert 'knn/odd_top1, photos/' in Page(page.read_text()).texts
