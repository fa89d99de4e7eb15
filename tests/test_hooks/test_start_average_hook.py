"""StartAverageHook: the checkpoint's encoder lies between the start and the trained encoder."""

from types import SimpleNamespace

import pytest
import torch

from amt_mm.checkpoints import read_checkpoint
from amt_mm.errors import InputError
from amt_mm.hooks import StartAverageHook

OURS = 'amt_start_average'


def load(path):
    return torch.load(path, map_location='cpu', weights_only=False)


@pytest.fixture
def start(toy_mae, tmp_path):
    """A checkpoint to start from, and its encoder."""
    state = toy_mae(seed=9).state_dict()
    torch.save({'state_dict': state}, tmp_path / 'start.pth')
    return str(tmp_path / 'start.pth'), {k: v for k, v in state.items()
                                         if k.startswith('backbone.')}


@pytest.fixture
def train(toy_runner, tmp_path, start):
    """Train, and return the folder of the checkpoints."""

    def run(name, share=None, **settings):
        hooks = [dict(type='amt_mm.PretrainedBackboneHook', checkpoint=start[0])]
        if share is not None:
            hooks.append(dict(type='amt_mm.StartAverageHook', share=share))
        toy_runner(name, hooks=hooks, **settings).train()
        return tmp_path / name

    return run


def test_the_average_written_slowly(train, start):
    plain = load(train('plain', epochs=2) / 'epoch_2.pth')
    got = load(train('averaged', .3, epochs=2) / 'epoch_2.pth')
    trained, changed = plain['state_dict'], 0
    assert got['state_dict'].keys() == trained.keys()
    for name, value in got['state_dict'].items():
        if name in start[1]:
            expected = .7 * start[1][name].double() + .3 * trained[name].double()
            torch.testing.assert_close(value.double(), expected, rtol=0, atol=1e-7)
            assert torch.equal(got[OURS]['start'][name], start[1][name])
            assert torch.equal(got[OURS]['trained'][name], trained[name])
            changed += not torch.equal(value, trained[name])
        else:
            assert torch.equal(value, trained[name]), name
    assert changed > 20
    # Training itself knows nothing of it.
    for index, state in plain['optimizer']['state'].items():
        assert torch.equal(got['optimizer']['state'][index]['exp_avg'], state['exp_avg'])


def test_evaluation_reads_the_average_unless_told_otherwise(train):
    path = train('run', .25, epochs=1) / 'epoch_1.pth'
    content = load(path)
    average, trained = read_checkpoint(path), read_checkpoint(path, 'student')
    for name, value in content['state_dict'].items():
        assert torch.equal(average.state[name], value)
        assert torch.equal(trained.state[name], content[OURS]['trained'].get(name, value))
    assert 'average with the start' in average.notes[0]
    assert 'trained weights' in trained.notes[0]


def test_a_share_of_1_saves_the_trained_encoder(train):
    plain = load(train('plain', epochs=1) / 'epoch_1.pth')['state_dict']
    got = load(train('averaged', 1, epochs=1) / 'epoch_1.pth')['state_dict']
    for name, value in plain.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=1e-7)


def test_a_resumed_run_equals_an_uninterrupted_one(train):
    whole = load(train('whole', .25, epochs=3) / 'epoch_3.pth')
    folder = train('parts', .25, epochs=2)
    train('parts', .25, epochs=3, resume=True)
    resumed = load(folder / 'epoch_3.pth')
    for name, value in whole['state_dict'].items():
        assert torch.equal(resumed['state_dict'][name], value), name
    for part in ('start', 'trained'):
        for name, value in whole[OURS][part].items():
            assert torch.equal(resumed[OURS][part][name], value), name


def test_weights_of_load_from_are_the_start(toy_runner, start, tmp_path):
    toy_runner('run', hooks=[dict(type='amt_mm.StartAverageHook')], epochs=1,
               load_from=start[0]).train()
    kept = load(tmp_path / 'run/epoch_1.pth')[OURS]['start']
    assert all(torch.equal(kept[name], value) for name, value in start[1].items())


@pytest.mark.parametrize('damage', [
    lambda kept: None, lambda kept: 3, lambda kept: dict(start=kept['start']),
    lambda kept: dict(kept, trained={}),
    lambda kept: dict(kept, start={name: value[..., :1] for name, value in kept['start'].items()}),
    lambda kept: dict(kept, start={name: value.half() for name, value in kept['start'].items()}),
    lambda kept: dict(kept, trained=dict.fromkeys(kept['start'], 3)),
], ids=['none', 'a number', 'a part', 'empty', 'other shapes', 'other types', 'no tensors'])
def test_a_checkpoint_without_the_start(train, damage):
    folder = train('run', .25, epochs=1)
    content = load(folder / 'epoch_1.pth')
    content[OURS] = damage(content[OURS])
    torch.save(content, folder / 'epoch_1.pth')
    with pytest.raises(InputError, match=r'epoch_1.pth: it does not tell where the encoder start'):
        train('run', .25, epochs=2, resume=True)


def test_the_encoder_of_a_teacher_is_averaged_too(tmp_path):
    model = torch.nn.ModuleDict({
        'backbone': torch.nn.Linear(3, 2), 'head': torch.nn.Linear(2, 5),
        'teacher': torch.nn.ModuleDict({'backbone': torch.nn.Linear(3, 2),
                                        'head': torch.nn.Linear(2, 5)})})
    runner, hook = SimpleNamespace(model=model), StartAverageHook(.5)
    hook.before_train(runner)
    begun = {name: value.clone() for name, value in model.state_dict().items()}
    checkpoint = {'state_dict': {name: value + 2 for name, value in begun.items()}}
    hook.before_save_checkpoint(runner, checkpoint)
    for name, value in checkpoint['state_dict'].items():
        torch.testing.assert_close(value, begun[name] + (1 if 'backbone' in name else 2))
    # Student and teacher are both averages.
    torch.save(checkpoint, tmp_path / 'a.pth')
    student = read_checkpoint(tmp_path / 'a.pth', 'student')
    assert student.notes == ()
    assert torch.equal(student.state['backbone.weight'],
                       checkpoint['state_dict']['backbone.weight'])


def test_a_model_without_an_encoder():
    runner = SimpleNamespace(model=torch.nn.Linear(2, 3))
    with pytest.raises(InputError, match='no `backbone` to average'):
        StartAverageHook().before_train(runner)


@pytest.mark.parametrize('share', [0, -1, 1.01, float('nan'), '1', True, None])
def test_shares_out_of_range(share):
    with pytest.raises(InputError, match='share=.* must be a number above 0'):
        StartAverageHook(share)
