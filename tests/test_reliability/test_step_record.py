"""StepRecorder: what the batches of one step were given, and the buffers from before it."""

import torch
from torch import nn

from amt_mm.reliability.step_record import StepRecorder


class Counting(nn.Module):
    """A model whose forward pass moves a buffer and draws a random number."""

    def __init__(self):
        super().__init__()
        self.register_buffer('calls', torch.zeros(()))

    def forward(self, plan=None):
        self.calls += 1
        return {'loss': torch.rand(()) + self.calls, 'accuracy': torch.ones(())}


def test_batches_of_a_step_are_recorded_until_it_is_complete():
    torch.manual_seed(0)
    model = Counting()
    recorder = StepRecorder(model)
    recorder.begin_batch('first', 2)
    first = model(plan='a plan')['loss']
    recorder.end_batch(complete=False)
    model()  # a validation
    recorder.begin_batch('second', 2)
    second = model()['loss']
    assert [(batch.data, batch.divisor, batch.plan) for batch in recorder.batches] == [
        ('first', 2, 'a plan'), ('second', 2, None)]
    assert recorder.losses() == [('loss of batch 1 of 2', first), ('loss of batch 2 of 2', second)]
    # The state before the pass gives its number again.
    torch.set_rng_state(recorder.batches[1].forward_random['torch'])
    assert torch.rand(()) + 3 == second
    recorder.restore_buffers()
    assert model.calls == 0
    recorder.end_batch(complete=True)
    assert recorder.batches == [] and recorder.buffers is None


def test_a_step_of_one_batch_needs_no_number():
    model = Counting()
    recorder = StepRecorder(model)
    recorder.begin_batch({}, 1)
    loss = model()['loss']
    assert recorder.losses() == [('loss', loss)]


def test_a_resumed_step_goes_back_to_its_beginning():
    model = Counting()
    model.calls += 5
    recorder = StepRecorder(model, {'calls': torch.tensor(2.)})
    recorder.begin_batch({}, 2)
    model()
    recorder.restore_buffers()
    assert model.calls == 2


def test_nothing_is_left_in_the_model():
    model = Counting()
    StepRecorder(model).remove()
    assert not model._forward_hooks and not model._forward_pre_hooks
