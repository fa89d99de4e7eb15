"""Two steps of iBOT, in each process of torchrun or in one process, on the same global batch."""

import sys
from pathlib import Path

import torch
from torch import distributed

sys.path.insert(0, str(Path(__file__).parents[2]))

import amt_mm.registry  # noqa: E402, F401

# isort: split
from mmpretrain.registry import MODELS  # noqa: E402

# Without randomness of the masks: the ratio is fixed and every crop is masked.
MODEL = dict(
    type='amt_mm.IBOT',
    backbone=dict(
        type='amt_mm.IBOTViT', img_size=(40, 56), patch_size=8,
        arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)),
    head=dict(type='amt_mm.DistillationHead', out_channels=19, hidden_channels=16,
              bottleneck_channels=8),
    masking=dict(type='amt_mm.CropMasking', strategy='high', ratio=(0.3, 0.3), gate=1.0),
    data_preprocessor=dict(type='SelfSupDataPreprocessor'))


def train(rank, world):
    """Return weights and centers after two steps on 4 images, divided among the processes."""
    torch.manual_seed(0)
    model = MODELS.build(MODEL).double()
    model.init_weights()
    module = torch.nn.parallel.DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=.5)
    # Before the masks, whose number of random draws depends on the number of crops.
    steps = [[*torch.randn(2, 4, 3, 40, 56).double(), *torch.randn(2, 4, 3, 24, 16).double()]
             for _ in range(2)]
    for views in steps:
        share = [view[rank::world] for view in views]
        optimizer.zero_grad()
        sum(module(share, None, 'loss').values()).backward()
        optimizer.step()
    return model.state_dict()


def main(folder):
    distributed.init_process_group('gloo')
    rank = distributed.get_rank()
    torch.save(train(rank, distributed.get_world_size()), f'{folder}/rank{rank}.pt')
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(sys.argv[1])
    import os
    # A thread of gloo may abort a process that has succeeded while it shuts down.
    os._exit(0)
