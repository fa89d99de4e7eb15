"""What every mask plan must be."""

import torch


def assert_partition(plan):
    """Each token of each sample is in the plan once."""
    ids = torch.cat([plan.masked, plan.thrown, plan.visible], dim=1).sort(dim=1).values
    assert torch.equal(ids, torch.arange(plan.num_tokens).expand(plan.batch_size, -1))
