"""An encoder set up from a checkpoint: which weights serve it, and which its decoder."""

import pytest
import torch

from amt_mm.apis.encoder import load_encoder


@pytest.mark.slow
def test_an_averaged_encoder_with_the_decoder_of_the_trained_one(checkpoint):
    content = torch.load(checkpoint, weights_only=False)
    state = content['state_dict']
    start = {name: value for name, value in state.items() if name.startswith('backbone.')}
    trained = {name: value + 1 for name, value in start.items()}
    average = {name: value + .25 for name, value in start.items()}
    torch.save({**content, 'state_dict': {**state, **average},
                'amt_start_average': dict(start=start, trained=trained)}, checkpoint)
    loaded, name = load_encoder(checkpoint), 'backbone.layers.1.attn.qkv.weight'
    assert torch.equal(loaded.model.state_dict()[name], average[name])
    assert torch.equal(loaded.content.state[name], trained[name])
    asked = load_encoder(checkpoint, encoder='student')
    assert torch.equal(asked.model.state_dict()[name], trained[name])
