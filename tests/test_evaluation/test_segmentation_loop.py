"""SegmentationTestLoop: it learns, and its mean IoU is that of the pixels, computed apart."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from labelled_toys import test_runner
from PIL import Image
from segmentation_toys import PIPELINE, write_masked
from sklearn.metrics import jaccard_score

from amt_mm.datasets import SegmentationFolder
from amt_mm.errors import InputError
from amt_mm.evaluation import segmentation_loop
from amt_mm.evaluation.segmentation_head import train_segmentation
from amt_mm.registry import LOOPS

LOOP = dict(type='amt_mm.SegmentationTestLoop', iterations=60, batch_size=3, lr=.03)


@pytest.fixture
def run(tmp_path):
    """The factory ``run(name, **loop)`` of runners on train/ and val/."""

    def make(name='run', num_classes=None, **loop):
        train, test = (SegmentationFolder(str(tmp_path / part), pipeline=PIPELINE,
                                          num_classes=num_classes) for part in ('train', 'val'))
        return test_runner(tmp_path / name, {**LOOP, **loop}, train, test,
                           f'{tmp_path.name}-{name}')

    return make


def slow_measures(runner, classes=3):
    """Means of scikit-learn over all pixels, images one at a time, nothing cached."""
    model, parts = runner.model.eval(), []
    for dataset in (runner.test_loop.train_dataloader.dataset, runner.test_dataloader.dataset):
        tokens, masks = [], []
        for info in dataset:
            inputs = (info['inputs'][None].float() - model.data_preprocessor.mean
                      ) / model.data_preprocessor.std
            with torch.no_grad():
                tokens.append(model.backbone(inputs)[-1][0, 1:].half())
            masks.append(info['data_samples'].gt_seg_map)
        parts.append((torch.stack(tokens), torch.from_numpy(np.stack(masks))))
    (tokens, masks), (test_tokens, _) = parts
    head = train_segmentation(tokens, masks, classes, (5, 7), 60, 3, .03)
    labels, found = [], []
    for i, tokens in enumerate(test_tokens):
        label = np.asarray(Image.open(runner.test_dataloader.dataset.get_data_info(i)[
            'seg_map_path']))
        with torch.no_grad():
            logits = F.interpolate(head(tokens[None].float()), label.shape, mode='bilinear')
        labels.append(label[label < 255])
        found.append(logits[0].argmax(dim=0).numpy()[label < 255])
    labels, found = np.concatenate(labels), np.concatenate(found)
    return (100 * jaccard_score(labels, found, average='macro'), 100 * (labels == found).mean(),
            100 * jaccard_score(labels, np.zeros_like(labels), average='macro'))


@pytest.mark.slow
def test_its_measures_are_those_of_all_pixels_at_the_size_of_the_masks(run, tmp_path):
    write_masked(tmp_path / 'train', 11, 0)
    write_masked(tmp_path / 'val', 5, 1)
    runner = run()
    metrics = runner.test()
    miou, accuracy, constant = slow_measures(runner)
    # Images in batches or alone differ by rounding, which moves a pixel at an edge.
    assert metrics['segmentation/miou'] == pytest.approx(miou, abs=.2)
    assert metrics['segmentation/pixel_accuracy'] == pytest.approx(accuracy, abs=.2)
    assert metrics['segmentation/constant_miou'] == pytest.approx(constant)
    assert miou > 60 > 2 * constant
    assert not list((tmp_path / 'run').glob('*.masks')) + list((tmp_path / 'run').glob('*.tokens'))


@pytest.mark.slow
def test_zero_of_ade20k_is_no_label(run, tmp_path):
    for part, count in (('train', 7), ('val', 3)):
        write_masked(tmp_path / part, count, count, folder='annotations', first=1)
    metrics = run('ade').test()
    for part in ('train', 'val'):
        for path in (tmp_path / part / 'annotations').iterdir():
            mask = np.asarray(Image.open(path))
            (tmp_path / part / 'masks').mkdir(exist_ok=True)
            # 255 stays, 1 is class 0.
            Image.fromarray(np.where(mask == 255, 255, mask - 1).astype(np.uint8)).save(
                tmp_path / part / 'masks' / path.name)
            path.unlink()
        (tmp_path / part / 'annotations').rmdir()
    assert run('masks').test() == metrics


@pytest.mark.slow
def test_a_class_that_training_lacks_counts_as_zero_and_is_named(run, tmp_path, monkeypatch):
    write_masked(tmp_path / 'train', 7, 0)
    write_masked(tmp_path / 'val', 3, 1, classes=4)
    said = []
    runner = run()
    monkeypatch.setattr(runner.logger, 'warning', said.append)
    metrics = runner.test()
    assert said == ['1 class(es) have test pixels and no training pixel, so their IoU is 0: 3']
    assert 0 < metrics['segmentation/miou'] <= 75
    # The number of classes may be given, and those that nobody shows do not count.
    assert run('given', num_classes=9).test()['segmentation/miou'] == pytest.approx(
        metrics['segmentation/miou'], abs=3)


@pytest.mark.slow
def test_a_region_that_is_lost_when_masks_shrink_is_a_class_all_the_same(run, tmp_path):
    write_masked(tmp_path / 'train', 5, 0)
    write_masked(tmp_path / 'val', 3, 1)
    for part in ('train', 'val'):
        path = tmp_path / part / 'masks/0.png'
        mask = np.array(Image.open(path))
        mask = mask.repeat(9, 0).repeat(9, 1)
        mask[40, 40] = 3
        Image.fromarray(mask).save(path)
        image = Image.open(tmp_path / part / 'images/0.png')
        image.resize(mask.shape[::-1]).save(tmp_path / part / 'images/0.png')
    runner = run()
    found, tested = [], runner.test_loop._tested
    runner.test_loop._tested = lambda *args: found.append(tested(*args)) or found[0]
    runner.test()
    assert found[0].shape == (4, 4) and found[0][3].sum() == 1


@pytest.mark.slow
def test_masks_of_one_class_are_refused(run, tmp_path):
    write_masked(tmp_path / 'train', 3, 0, classes=1)
    write_masked(tmp_path / 'val', 3, 1)
    with pytest.raises(InputError, match=r'show 1 class\(es\), and two are needed'):
        run().test()


@pytest.mark.slow
@pytest.mark.parametrize('loop', [dict(iterations=0), dict(batch_size=0), dict(lr=0.0),
                                  dict(weight_decay=-.1)])
def test_impossible_settings_are_refused_before_encoding(run, tmp_path, loop):
    write_masked(tmp_path / 'train', 1, 0)
    write_masked(tmp_path / 'val', 1, 1)
    with pytest.raises(InputError, match=next(iter(loop))):
        run(**loop).test_loop  # noqa: B018  (builds the loop)


@pytest.mark.slow
def test_other_processes_take_the_head_of_the_first_and_their_share(run, tmp_path, monkeypatch):
    """Two processes in turn: the sum of their matrices is that of one process."""
    write_masked(tmp_path / 'train', 7, 0)
    write_masked(tmp_path / 'val', 5, 1)
    runner = run()
    loop, found = runner.test_loop, []
    test = loop._encode('test', loop.dataloader)
    train = loop._encode('training', loop.train_dataloader)
    head = loop._trained(train, 3)
    whole = loop._tested(head, test, 3)
    for rank in (0, 1):
        monkeypatch.setattr(segmentation_loop, 'get_dist_info', lambda rank=rank: (rank, 2))
        found.append(loop._tested(head, test, 3))
    assert torch.equal(found[0] + found[1], whole) and found[0].sum() > found[1].sum() > 0

    sent = []
    monkeypatch.setattr(segmentation_loop, 'is_main_process', lambda: False)
    monkeypatch.setattr(segmentation_loop, 'broadcast', sent.append)
    other = loop._trained(train, 3)
    # Everything that decides a prediction is sent.
    assert len(sent) == len(other.state_dict()) == 7


def test_the_loop_is_found_by_name():
    assert LOOPS.get('amt_mm.SegmentationTestLoop').prefix == 'segmentation'
