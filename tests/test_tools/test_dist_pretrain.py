"""AMT by tools/train.py in two processes, across a refresh."""

from pathlib import Path

import pytest
import torch
from torchrun import in_two_real_processes

from amt_mm.saliency import SaliencyStore

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/quickstart/mae-amt_vit-mini-p8_1xb128-coslr-24e_scenes.py'


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='two processes on CPU')
def test_two_processes_pretrain_across_a_refresh(tmp_path):
    # 13 scenes for 2 processes: the last share is filled up, the map must not be.
    said = in_two_real_processes(
        ROOT / 'tools/train.py', CONFIG, '--launcher', 'pytorch', '--work-dir', tmp_path,
        '--cfg-options', 'train_dataloader.dataset.num_samples=13',
        'train_dataloader.batch_size=3', 'train_cfg.max_epochs=7',
        'default_hooks.checkpoint.interval=7', 'default_hooks.logger.interval=1')
    assert said.count('Saliency refreshed before epoch 7: 13 images') == 1
    store = SaliencyStore(tmp_path / 'saliency' / 'epoch_6.amtmap')
    assert (store.num_samples, store.grid) == (13, (8, 8))
    maps = store.lookup(torch.arange(13)).flatten(1)
    assert (maps.amax(1) == 1).all() and (maps.amin(1) == 0).all()
    checkpoint = torch.load(tmp_path / 'epoch_7.pth', map_location='cpu', weights_only=False)
    assert checkpoint['amt_saliency']['file'] == 'epoch_6.amtmap'
    # 13 samples, 2 processes, 3 a batch: 7 a process, 3 steps an epoch.
    assert checkpoint['meta']['iter'] == 21
