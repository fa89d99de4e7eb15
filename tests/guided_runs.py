"""What tests of the saliency hook look at in a toy run."""

import torch

from amt_mm.saliency import SaliencyStore

# Tokens masked, thrown and visible.
GUIDED, WARMUP = (15, 14, 6), (26, 0, 9)


def counts(step):
    return tuple(step[kind].shape[1] for kind in ('masked', 'thrown', 'visible'))


def warnings_of(runner, monkeypatch):
    said = []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *args: said.append(text))
    return said


def maps_of(path):
    store = SaliencyStore(path)
    return store.lookup(torch.arange(store.num_samples))


def states(model):
    return {name: value.clone() for name, value in model.state_dict().items()}
