"""The pure torch example: it runs without OpenMMLab, and image and map are cut alike."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from load_script import load_script
from torch.nn import functional as F

from amt_mm.masking import AMTMaskGenerator, patchify
from amt_mm.saliency import resample

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / 'examples/timm_style.py'


def load():
    return load_script(EXAMPLE)


@pytest.mark.slow
def test_it_runs_and_imports_nothing_of_openmmlab():
    code = ('import runpy, sys\n'
            f'sys.path.insert(0, {str(ROOT)!r})\n'
            f'sys.argv = ["timm_style.py", "--epochs", "4", "--warmup", "2", "--refresh", "1"]\n'
            f'runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")\n'
            'roots = {name.split(".")[0] for name in sys.modules}\n'
            'print("imported:", sorted(roots & {"mmengine", "mmcv", "mmpretrain", "torchvision"}),'
            ' "torch" in roots)\n')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == 'imported: [] True'
    kinds = [re.match(r'epoch \d: (random|guided|new)', line)[1] for line in lines[:-1]]
    assert kinds == ['random', 'random', 'new', 'guided', 'new', 'guided']
    assert '36 masked, 0 thrown, 12 visible' in lines[0]
    assert '21 masked, 19 thrown, 8 visible' in lines[3]
    losses = [float(found) for found in re.findall(r'loss ([\d.]+)', done.stdout)]
    assert losses[1] < 0.9 * losses[0]


def test_image_and_map_are_cut_alike():
    example = load()
    torch.manual_seed(0)
    maps = torch.rand(5, *example.GRID)
    images = F.interpolate(maps[:, None], (240, 320), mode='bilinear')
    boxes = example.draw_boxes(5)
    assert (boxes[:, 0] > boxes[:, 2]).any() and (boxes[:, 0] < boxes[:, 2]).any()  # some flipped
    wanted = patchify(example.crop(images, boxes), example.PATCH).mean(dim=2)
    torch.testing.assert_close(resample(maps, boxes, example.GRID), wanted, rtol=0, atol=0.01)


def test_thrown_pixels_reach_no_prediction():
    example = load()
    torch.manual_seed(0)
    encoder, decoder = example.ViT(), example.Decoder()
    plan = AMTMaskGenerator()(2, example.GRID, torch.rand(2, 48))
    patches = torch.randn(2, 48, 192)
    with torch.no_grad():
        before = decoder(encoder.encode(patches, plan.visible), plan)
        assert before.shape == (2, 21, 192)
        for ids, same in ((plan.thrown, True), (plan.masked, True), (plan.visible, False)):
            changed = patches.clone()
            for sample in range(2):
                changed[sample, ids[sample]] += 1
            after = decoder(encoder.encode(changed, plan.visible), plan)
            assert torch.equal(before, after) == same
