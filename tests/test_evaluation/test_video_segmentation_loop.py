"""VideoSegmentationTestLoop: J and F by a slow computation, what is perfect, wrong and refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from labelled_toys import VIT, loader
from mmengine.runner import Runner
from PIL import Image
from test_object_measures import slow_f
from video_toys import moving, write_video

from amt_mm.datasets import DavisVideos
from amt_mm.errors import InputError
from amt_mm.evaluation import video_segmentation_loop

PIPELINE = [dict(type='amt_mm.LoadMask'), dict(type='amt_mm.LoadImage'),
            dict(type='PackInputs', algorithm_keys=['gt_seg_map'],
                 meta_keys=['img_path', 'video'])]


@pytest.fixture
def run(tmp_path):
    """The factory ``run(name, **loop)`` of runners on the videos in ``tmp_path``."""

    def make(name='run', **loop):
        return Runner(
            model=VIT, work_dir=str(tmp_path / name), test_evaluator=[],
            test_dataloader=loader(DavisVideos(data_root=str(tmp_path), pipeline=PIPELINE)),
            test_cfg=dict(type='amt_mm.VideoSegmentationTestLoop', **{'size': 64, **loop}),
            default_scope='mmpretrain', randomness=dict(seed=0),
            experiment_name=f'{tmp_path.name}-{name}')

    return make


@torch.no_grad()
def slow_measures(runner, root, video, grid, objects, frames=7, radius=12, neighbours=5):
    """J and F of each object: all likenesses of two frames, thresholds, PIL; one frame at a time.

    As DINO's evaluation writes it, on the published files.
    """
    model = runner.model.eval()
    size, (height, width) = [8 * side for side in grid], grid
    names = sorted((root / 'JPEGImages/480p' / video).iterdir())
    masks = [np.asarray(Image.open(root / 'Annotations/480p' / video / f'{name.stem}.png'))
             for name in names]
    features = []
    for name in names:
        image = torch.from_numpy(np.asarray(Image.open(name)).copy()).permute(2, 0, 1)[[2, 1, 0]]
        # The toy preprocessor takes BGR.
        image = (image.float() - model.data_preprocessor.mean) / model.data_preprocessor.std
        image = F.interpolate(image[None], size, mode='bilinear')
        features.append(F.normalize(model.backbone(image)[-1][0, 1:], dim=1))
    near = torch.zeros(height, width, height, width)
    for i in range(height):
        for j in range(width):
            near[i, j, max(0, i - radius):i + radius + 1, max(0, j - radius):j + radius + 1] = 1
    near = near.reshape(height * width, -1)
    small = np.asarray(Image.fromarray(masks[0]).resize((width, height), Image.NEAREST)).ravel()
    shares = [torch.from_numpy(np.stack([small == label for label in (0, *objects)])).float()]
    j, f = [], []
    for place in range(1, len(names)):
        used = [0, *range(max(1, place - frames), place)]
        weights = torch.cat([torch.exp(features[other] @ features[place].T / .1) * near
                             for other in used])
        weights[weights < weights.topk(neighbours, dim=0).values[-1]] = 0
        shares.append(torch.cat([shares[other] for other in used], dim=1)
                      @ (weights / weights.sum(dim=0)))
        maps = F.interpolate(shares[-1].view(1, -1, height, width), scale_factor=8,
                             mode='bilinear')[0]
        for each in maps:
            if each.max() > 0:
                each -= each.min().item()
                each /= each.max().item()
        found = Image.fromarray(maps.argmax(dim=0).numpy().astype(np.uint8))
        found = np.asarray(found.resize(masks[0].shape[::-1], Image.NEAREST))
        if place < len(names) - 1:
            pairs = [(masks[place] == label, found == number)
                     for number, label in enumerate(objects, 1)]
            j.append([(a & b).sum() / (a | b).sum() for a, b in pairs])
            f.append([slow_f(a, b) for a, b in pairs])
    return np.mean(j, axis=0), np.mean(f, axis=0)


@pytest.mark.slow
def test_its_measures_are_those_of_the_slow_computation(run, tmp_path):
    write_video(tmp_path, 'wide', moving(67, 149, 6, [(1, 4, 20), (3, 40, 90)], 23, 7))
    write_video(tmp_path, 'tall', moving(131, 71, 4, [(2, 50, 9)], 33, 6), seed=1)
    runner = run(frames=2, radius=3)
    metrics = runner.test()
    wide = slow_measures(runner, tmp_path, 'wide', (8, 16), [1, 3], frames=2, radius=3)
    tall = slow_measures(runner, tmp_path, 'tall', (8, 8), [2], frames=2, radius=3)
    j, f = (100 * np.concatenate(parts).mean() for parts in zip(wide, tall, strict=True))
    assert metrics == pytest.approx({
        'video_segmentation/jf': (j + f) / 2, 'video_segmentation/j': j,
        'video_segmentation/f': f}, abs=.2)
    assert min(j, f) > 5 and max(j, f) < 95
    log, = Path(runner.log_dir).glob('*.log')
    logged = re.search(r'J&F of videos in per cent: wide (\d+\.\d), tall ', log.read_text())[1]
    assert float(logged) == pytest.approx(50 * (wide[0].mean() + wide[1].mean()), abs=.3)


@pytest.mark.parametrize(('perfect', 'low', 'high'), [(True, 90, 97), (False, 0, 35)])
def test_perfect_features_carry_the_objects_and_wrong_ones_do_not(
        run, tmp_path, monkeypatch, perfect, low, high):
    """Tokens made of the true object of their patch, or of its place alone, which stays.

    Upsampling patches rounds the corners of squares off, so perfect is not 100.
    """
    masks = moving(64, 192, 9, [(1, 8, 8), (2, 40, 24)], 16, 16)
    write_video(tmp_path, 'squares', masks)
    runner, given = run(), iter(masks)

    def tokens(model, image):
        mask = torch.from_numpy(next(given)[::8, ::8].reshape(-1).copy()).long()
        found = F.one_hot(mask, 3) if perfect else torch.eye(len(mask))
        return torch.cat([found[:1], found])[None].float()  # with [CLS]

    monkeypatch.setattr(video_segmentation_loop, 'whole_image_tokens', tokens)
    metrics = runner.test()
    assert all(low <= value < high for value in metrics.values())


@pytest.mark.slow
def test_objects_that_come_later_and_ignored_pixels_are_background(run, tmp_path):
    masks = moving(64, 96, 4, [(2, 8, 8)], 24, 8)
    write_video(tmp_path / 'plain', 'video', masks)
    masks[2, 40:50, 70:80] = 1
    masks[1:, :3] = 255
    write_video(tmp_path, 'video', masks)
    for path in (tmp_path / 'JPEGImages/480p/video').iterdir():
        path.write_bytes((tmp_path / 'plain/JPEGImages/480p/video' / path.name).read_bytes())
    runner = run()
    metrics = runner.test()
    log, = Path(runner.log_dir).glob('*.log')
    assert '1 object(s) come after the first frame of their video' in log.read_text()
    (tmp_path / 'Annotations').rename(tmp_path / 'before')
    (tmp_path / 'plain/Annotations').rename(tmp_path / 'Annotations')
    assert run('plain').test() == metrics


@pytest.mark.slow
def test_processes_share_the_videos(run, tmp_path, monkeypatch):
    for number, name in enumerate('abc'):
        write_video(tmp_path, name, moving(64, 96, 3, [(1, 8 + number, 8)], 24, 8), seed=number)
    whole, found = run('whole').test(), []
    for rank in (0, 1):
        monkeypatch.setattr(video_segmentation_loop, 'get_dist_info', lambda rank=rank: (rank, 2))
        runner = run(f'rank-{rank}')
        monkeypatch.setattr(video_segmentation_loop, 'all_reduce', found.append)
        runner.test()
    assert (found[0][[0, 2], 2] == 1).all() and not found[0][1].any() and found[1][1, 2] == 1
    j, f, count, _ = (found[0] + found[1]).sum(dim=0).tolist()
    assert whole['video_segmentation/j'] == pytest.approx(100 * j / count)


@pytest.mark.slow
def test_videos_that_cannot_be_measured_are_one_line(run, tmp_path):
    write_video(tmp_path / 'a', 'short', moving(64, 96, 2, [(1, 8, 8)], 24, 8))
    write_video(tmp_path / 'b', 'empty', moving(64, 96, 3, [], 24, 8))
    write_video(tmp_path / 'c', 'sizes', moving(64, 96, 3, [(1, 8, 8)], 24, 8))
    for kind, name in (('JPEGImages', '00001.jpg'), ('Annotations', '00001.png')):
        path = tmp_path / 'c' / kind / '480p/sizes' / name
        Image.open(path).resize((90, 64), Image.NEAREST).save(path)
    for folder, message in (('a', 'video short has 2 frame.s., and 3 are needed'),
                            ('b', '00000.jpg: the mask of the first frame .* has no object'),
                            ('c', '00001.jpg: is 90 x 64 pixels, and the first frame is 96 x 64')):
        for name in ('ImageSets', 'JPEGImages', 'Annotations'):
            (tmp_path / folder / name).rename(tmp_path / name)
        with pytest.raises(InputError, match=message):
            run(folder).test()
        for name in ('ImageSets', 'JPEGImages', 'Annotations'):
            (tmp_path / name).rename(tmp_path / folder / name)


@pytest.mark.slow
def test_impossible_settings_are_refused(run, tmp_path):
    write_video(tmp_path, 'video', moving(64, 96, 3, [(1, 8, 8)], 24, 8))
    for name, value in (('size', 63), ('frames', -1), ('radius', -1), ('neighbours', 0),
                        ('temperature', 0)):
        with pytest.raises(InputError, match=f'{name}={value}'):
            run(f'{name}', **{name: value}).test_loop  # noqa: B018  (builds the loop)


@pytest.mark.parametrize(('patch', 'height', 'width', 'wanted'), [
    (16, 480, 854, (480, 832)), (8, 480, 910, (480, 896)), (16, 1080, 607, (832, 480)),
    (14, 480, 854, (476, 840)), (16, 500, 500, (480, 480))])
def test_sizes_of_frames_are_those_of_dino(patch, height, width, wanted):
    loop = object.__new__(video_segmentation_loop.VideoSegmentationTestLoop)
    loop.patch, loop.size = (patch, patch), 480
    assert loop._encoded_size(height, width) == wanted
