"""AttentiveTestLoop: what it selects by, what it reports, and what it refuses."""

from pathlib import Path

import pytest
import torch
from labelled_toys import LabelledFrames, LabelledImages, test_runner
from mmengine.runner import Runner

from amt_mm.errors import InputError
from amt_mm.evaluation import attentive_loop
from amt_mm.evaluation.attentive_probe import Rate, accuracies, train_heads
from amt_mm.evaluation.kept import kept
from amt_mm.registry import LOOPS

# 5 classes of 8 images, of which 1 each is held out; odd numbers to test.
TRAIN = [i * 3 % 5 for i in range(40)]
TEST = [i * 2 % 5 for i in range(13)]
LOOP = dict(type='amt_mm.AttentiveTestLoop', queries=4, lrs=[1e-3, 1e-2], weight_decays=[0, .2],
            epochs=3, batch_size=11)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)

    def make(name='run', train=TRAIN, test=TEST, **loop):
        return test_runner(tmp_path / name, {**LOOP, **loop}, LabelledImages(train),
                           LabelledImages(test, seed=1), f'{tmp_path.name}-{name}')

    return make


def tokens_of(runner, loader):
    dataset, model = loader.dataset, runner.model.eval()
    batch = torch.stack([dataset[i]['inputs'] for i in range(len(dataset))]).float()
    batch = (batch - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        return model.backbone(batch)[-1][:, 1:].half()


def test_it_selects_on_the_fifth_image_of_each_class_and_trains_again_on_all(run, monkeypatch):
    seen_by = []

    def noted(*args):
        seen_by.append(args[3].tolist())
        return train_heads(*args)

    monkeypatch.setattr(attentive_loop, 'train_heads', noted)
    runner = run()
    metrics = runner.test()
    train = tokens_of(runner, runner.test_loop.train_dataloader)
    test = tokens_of(runner, runner.test_dataloader)
    labels, seen, aside = torch.tensor(TRAIN), [0] * 5, []
    for i, label in enumerate(TRAIN):
        seen[label] += 1
        if seen[label] == 5:
            aside.append(i)
    rest = [i for i in range(40) if i not in aside]
    assert seen_by == [rest, rest, list(range(40)), list(range(40))]
    for kind, queries in (('ep', 4), ('aim', 3)):
        settings = dict(num_classes=5, queries=queries, epochs=3, batch_size=11)
        reached = {}
        for rate in (Rate(lr, decay) for lr in (1e-3, 1e-2) for decay in (0, .2)):
            heads = train_heads(kind, train, labels, torch.tensor(rest), [rate], **settings)
            reached[rate] = accuracies(heads, train, labels, torch.tensor(aside))[0]
        best = max(reached, key=reached.get)
        heads = train_heads(kind, train, labels, torch.arange(40), [best], **settings)
        assert metrics[f'attentive/{kind}_held_out'] == pytest.approx(reached[best])
        assert (metrics[f'attentive/{kind}_lr'], metrics[f'attentive/{kind}_weight_decay']) == best
        assert metrics[f'attentive/{kind}_top1'] == pytest.approx(
            accuracies(heads, test, torch.tensor(TEST), torch.arange(13))[0])
        folder = Path(runner.work_dir)
        sweep = kept(folder, f'sweep_{kind}')
        rates = map(Rate, sweep['lrs'], sweep['weight_decays'])
        assert dict(zip(rates, sweep['held_out'], strict=True)) == pytest.approx(reached)
        answers = kept(folder, f'predictions_attentive_{kind}_top1')
        with torch.no_grad():
            assert torch.equal(answers['predictions'], heads(test.float())[0].argmax(dim=1))
            looks = kept(folder, f'queries_{kind}')
            torch.testing.assert_close(
                looks['maps'], heads.attention(test[looks['rows']].float())[:, 0])
        assert looks['maps'].shape == (6, queries, 35) and looks['grid'] == [5, 7]
    assert len(metrics) == 8


def test_labels_of_the_test_images_decide_nothing_but_the_accuracy(run):
    first = run('first')
    other = run('other')
    for info in other.test_dataloader.dataset.data_list:
        info['gt_label'] = (info['gt_label'] + 1) % 5
    other.model.load_state_dict(first.model.state_dict())
    found = [runner.test() for runner in (first, other)]
    for name, value in found[0].items():
        assert (found[1][name] == value) == (not name.endswith('top1')), name


def test_a_rate_at_the_end_of_the_range_is_pointed_out(run, monkeypatch):
    said = []
    runner = run(kinds=['ep'], lrs=[1e-9, 1e-2], weight_decays=[0], epochs=20)
    monkeypatch.setattr(runner.logger, 'warning', said.append)
    runner.test()
    assert said == ['ep: the best learning rate is the highest tried; extend test_cfg.lrs']
    runner = run('one', kinds=['ep'], lrs=[1e-2])
    monkeypatch.setattr(runner.logger, 'warning', said.append)
    runner.test()
    assert len(said) == 1


def test_no_file_of_frames_selects_the_rate_and_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)
    sides = []
    monkeypatch.setattr(attentive_loop, 'train_heads', lambda *args: (
        sides.append(args[3]), train_heads(*args))[1])
    runner = test_runner(tmp_path, {**LOOP, 'kinds': ['ep']}, LabelledFrames([0, 1] * 5),
                         LabelledImages([0, 1], seed=1), tmp_path.name)
    runner.test()
    # Images 80 to 99 are the fifth file of each class.
    assert [side.tolist() for side in sides] == [list(range(80)), list(range(100))]


def test_classes_with_fewer_than_five_images_leave_none_to_select_by(run):
    with pytest.raises(InputError, match='no class has five'):
        run(train=TRAIN[:20]).test_loop  # noqa: B018  (builds the loop)


@pytest.mark.parametrize(('loop', 'message'), [
    (dict(kinds=[]), 'kinds'), (dict(kinds='ep'), "kinds='ep'"), (dict(kinds=['map']), 'map'),
    (dict(lrs=[]), 'lrs'), (dict(lrs=[0.0]), 'lrs'), (dict(weight_decays=[-1]), 'weight_decays'),
    (dict(queries=7), '7 queries cannot'), (dict(heads=5), '5 queries cannot'),
    (dict(epochs=0), 'epochs=0'), (dict(batch_size=1), 'batch_size=1')])
def test_impossible_settings_are_refused_before_encoding(run, loop, message):
    with pytest.raises(InputError, match=message):
        run(**loop).test_loop  # noqa: B018  (builds the loop)


def test_the_loop_is_found_by_name():
    assert LOOPS.get('amt_mm.AttentiveTestLoop').prefix == 'attentive'
