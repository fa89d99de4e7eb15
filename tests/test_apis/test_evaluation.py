"""evaluate: what is run, what is taken for its result, and when it is not repeated."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from amt_mm.apis import evaluation, image_identity
from amt_mm.checkpoints.describe import Pretraining
from amt_mm.errors import InputError, RunError
from amt_mm.file_lock import file_lock
from amt_mm.names import DATA
from amt_mm.protocols import PROTOCOLS

CONFIGS = Path(__file__).parents[2] / 'configs'
# Of random weights.
NOTHING = Pretraining(None, None, {}, None)


@pytest.fixture
def tools(monkeypatch):
    """Tools that write what real ones write; ``calls`` has what they were called with."""
    class Tools:
        calls, last_validation = [], True

        def run(self, tool, arguments, options, work_dir, processes=1, threads=None, show=None):
            self.calls.append((tool, [str(a) for a in arguments[1:]], options, processes))
            out = work_dir / f'2026010{len(self.calls)}' / 'vis_data'
            out.mkdir(parents=True)
            if tool == 'test':
                (out.parent / 'metrics.json').write_text(json.dumps({'accuracy/top1': 77.0}))
                return
            records = [{'accuracy/top1': 10.0, 'step': 2}, {'loss': 1.0, 'step': 3},
                       {'accuracy/top1': 30.0, 'accuracy/top5': 99.0, 'step': 3}]
            records = records if self.last_validation else records[:2]
            (out / 'scalars.json').write_text(''.join(f'{json.dumps(r)}\n' for r in records))
            (work_dir / 'last_checkpoint').write_text('epoch_3.pth')

    tools = Tools()
    monkeypatch.setattr(evaluation, 'run_tool', tools.run)
    return tools


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'pretrained.pth'
    path.write_bytes(b'weights')
    return path


def config(**changes):
    return Config({**dict(default_hooks=dict(pretrained=dict(checkpoint='')),
                          train_cfg=dict(max_epochs=3), auto_scale_lr=dict(base_batch_size=16)),
                   **changes})


def test_the_result_is_that_of_the_last_epoch_and_is_kept(tools, checkpoint, tmp_path):
    for _ in range(2):
        found = evaluation.evaluate(config(), checkpoint, tmp_path / 'run', processes=4)
        assert found == {'accuracy/top1': 30.0, 'accuracy/top5': 99.0}
    assert tools.calls == [('train', [], ['--auto-scale-lr'], 4)]


def test_a_training_that_broke_off_in_its_last_validation_is_tested(tools, checkpoint, tmp_path):
    tools.last_validation = False
    assert evaluation.evaluate(config(), checkpoint, tmp_path / 'run') == {'accuracy/top1': 77.0}
    assert tools.calls[1][:2] == ('test', [str(tmp_path / 'run/epoch_3.pth')])


def test_a_broken_training_is_resumed(tools, checkpoint, tmp_path):
    evaluation.evaluate(config(auto_scale_lr=None), checkpoint, tmp_path / 'run')
    (tmp_path / 'run/result.json').unlink()
    (tmp_path / 'run/last_checkpoint').write_text('epoch_1.pth')
    evaluation.evaluate(config(auto_scale_lr=None), checkpoint, tmp_path / 'run')
    assert tools.calls == [('train', [], [], 1), ('train', [], ['--resume'], 1)]


def test_what_trains_nothing_is_tested_on_the_checkpoint_once(tools, checkpoint, tmp_path):
    for processes in (1, 8):
        cfg = config()
        cfg.pop('train_cfg')
        evaluation.evaluate(cfg, checkpoint, tmp_path / 'run', processes)
    assert tools.calls == [('test', [str(checkpoint)], [], 1)]


@pytest.mark.parametrize('other', ['weights', 'processes'])
def test_a_result_is_not_taken_for_that_of_others(tools, checkpoint, tmp_path, other):
    evaluation.evaluate(config(), checkpoint, tmp_path / 'run')
    if other == 'weights':
        checkpoint.write_bytes(b'WEIGHTS')
    with pytest.raises(InputError, match='run of other settings'):
        evaluation.evaluate(config(), checkpoint, tmp_path / 'run',
                           processes=2 if other == 'processes' else 1)


def test_a_result_is_not_taken_for_that_of_another_guide(tools, checkpoint, tmp_path):
    guide = tmp_path / 'guide.pth'
    guide.write_bytes(b'guide')

    def evaluate(**test_cfg):
        return evaluation.evaluate(config(test_cfg=test_cfg), checkpoint, tmp_path / 'run')

    evaluate(guide=str(guide))
    evaluate(guide=str(guide))
    assert len(tools.calls) == 1
    with pytest.raises(InputError, match='run of other settings'):
        evaluate(guide=None)
    guide.write_bytes(b'GUIDE')
    with pytest.raises(InputError, match='run of other settings'):
        evaluate(guide=str(guide))


def test_a_result_stays_that_of_a_guide_that_was_moved(tools, checkpoint, tmp_path):
    guide = tmp_path / 'guide.pth'
    guide.write_bytes(b'guide')
    for path in (guide, tmp_path / 'moved.pth'):
        guide = guide.rename(path)
        evaluation.evaluate(config(test_cfg=dict(guide=str(guide))), checkpoint, tmp_path / 'run')
    assert len(tools.calls) == 1


@pytest.mark.parametrize(('section', 'name'), [
    *((f'{part}_dataloader', name) for part in ('train', 'val', 'test')
      for name in ('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor',
                   'timeout')),
    ('test_cfg', 'cache'), ('test_cfg', 'features')])
def test_an_interrupted_run_goes_on_with_other_settings_of_speed(tools, checkpoint, tmp_path,
                                                                 monkeypatch, section, name):
    monkeypatch.setattr(evaluation, 'image_identity', lambda images: 'the same')

    def evaluate(value):
        loader = dict(dataset=None)
        return evaluation.evaluate(config(**{section: {**loader, name: value}}), checkpoint,
                                   tmp_path / 'run')

    evaluate(8)
    (tmp_path / 'run/result.json').unlink()
    evaluate(1)
    assert tools.calls[1][2] == ['--resume', '--auto-scale-lr']
    # The tool reads it.
    settings = Config.fromfile(tmp_path / 'run/settings/config.py')
    assert settings[section][name] == 1


def test_a_run_that_computed_nothing_takes_other_settings(tools, checkpoint, tmp_path,
                                                          monkeypatch):
    def evaluate(rate):
        return evaluation.evaluate(config(optim_wrapper=dict(lr=rate)), checkpoint,
                                   tmp_path / 'run')

    def out_of_memory(*args):
        raise RunError('failed')

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, 'run_tool', out_of_memory)
        with pytest.raises(RunError):
            evaluate(1)
    # It runs elsewhere, and reads its settings.
    with file_lock(tmp_path / 'run'), pytest.raises(InputError, match='another process'):
        evaluate(2)
    assert Config.fromfile(tmp_path / 'run/settings/config.py').optim_wrapper.lr == 1
    evaluate(2)
    assert len(tools.calls) == 1
    with pytest.raises(InputError, match='run of other settings'):
        evaluate(3)


@pytest.mark.slow
@pytest.mark.parametrize('part', ['train', 'test', 'bank'])
def test_a_result_is_not_taken_for_that_of_other_images(tools, checkpoint, tmp_path, monkeypatch,
                                                         part):
    def folder(name):
        for kind in ('dark', 'light'):
            (tmp_path / name / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / name / kind / '0.png').write_bytes(b'x')
        return dict(dataset=dict(type='amt_mm.ImageFolder', data_root=str(tmp_path / name),
                                 with_label=True))

    def evaluate():
        monkeypatch.setattr(image_identity, '_KNOWN', {})  # a new process
        return evaluation.evaluate(config(train_dataloader=folder('train'),
                                         test_dataloader=folder('test'),
                                         test_cfg=dict(train_dataloader=folder('bank'))),
                                  checkpoint, tmp_path / 'run')

    evaluate()
    assert evaluate() == {'accuracy/top1': 30.0, 'accuracy/top5': 99.0}
    (tmp_path / part / 'dark' / '1.png').write_bytes(b'x')
    with pytest.raises(InputError, match='run of other settings'):
        evaluate()
    assert len(tools.calls) == 1


def test_two_ways_to_write_one_path_are_one(tools, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluation.evaluate(config(), checkpoint, tmp_path / 'run')
    evaluation.evaluate(config(), checkpoint.relative_to(tmp_path), tmp_path / 'run')
    moved = checkpoint.rename(tmp_path / 'moved.pth')
    evaluation.evaluate(config(), moved, tmp_path / 'run')
    assert len(tools.calls) == 1
    # A resumed run reads them.
    assert str(moved) in (tmp_path / 'run/settings/config.py').read_text()


@pytest.mark.slow
def test_four_ways_to_write_one_folder_are_one(tools, checkpoint, tmp_path, monkeypatch):
    for kind in ('dark', 'light'):
        (tmp_path / 'images' / kind).mkdir(parents=True)
        (tmp_path / 'images' / kind / '0.png').write_bytes(b'x')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    ways = ('images', './images/', str(tmp_path / 'images'), '~/images')
    roots = [evaluation.folder_options(way)['overlay.labelled.dataset.data_root'] for way in ways]
    assert set(roots) == {str(tmp_path / 'images')}
    # As earlier versions wrote it, and as it is written now.
    for root in ('images', roots[0]):
        dataset = dict(type='amt_mm.ImageFolder', data_root=root, with_label=True)
        evaluation.evaluate(config(test_dataloader=dict(dataset=dataset)), checkpoint,
                            tmp_path / 'run')
    assert len(tools.calls) == 1


@pytest.mark.slow
def test_simmim_has_a_schedule_of_its_own_and_its_layer_scale():
    simmim = Pretraining('SimMIM', None, dict(arch='base', patch_size=16,
                                              layer_scale_init_value=.1), 224)
    mae = Pretraining('MAE', None, dict(arch='base', patch_size=16), 224)
    found, _ = evaluation.find_config('finetune', 'cifar10', simmim)
    assert '-simmim-' in found.name
    assert '-simmim-' not in evaluation.find_config('finetune', 'cifar10', mae)[0].name
    for protocol, entry in PROTOCOLS.items():
        data = {'masks': 'ade20k', 'backgrounds': 'in9', 'videos': 'davis2017'}.get(
            entry.labels, 'cifar10')
        path, _ = evaluation.find_config(protocol, data, simmim)
        assert evaluation.adapt_config(path, simmim, {}).model.backbone.layer_scale_init_value == .1


@pytest.mark.parametrize(('protocol', 'out_type'), [
    ('knn', 'raw'), ('lowshot', 'raw'), ('linear', 'avg_featmap'), ('finetune', 'avg_featmap')])
def test_an_encoder_without_cls_is_evaluated_by_its_patches(protocol, out_type):
    encoder = Pretraining(None, None, dict(arch='base', patch_size=16, with_cls_token=False), 224)
    path, _ = evaluation.find_config(protocol, 'cifar10', encoder)
    cfg = evaluation.adapt_config(path, encoder, {})
    assert (cfg.model.backbone.with_cls_token, cfg.model.backbone.out_type) == (False, out_type)
    # The loop decides by the encoder.
    assert cfg.test_cfg.get('pooling') is None


def test_a_config_that_is_no_protocol_is_refused(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text('model = dict(backbone=dict())\n')
    with pytest.raises(InputError, match='has no default_hooks.pretrained, so it is not a'):
        evaluation.adapt_config(path, NOTHING, {})


def test_a_protocol_without_an_overlay_takes_the_size_and_the_pixels_of_images(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text("_base_ = 'amt_mm::_base_/protocols/knn.py'\ntest_cfg = dict(train_dataloader="
                    "dict(dataset=dict(type='amt_mm.ImageFolder', data_root='a')))\n")
    pixels = dict(channels=[2], mean=[100.], std=[50.])
    cfg = evaluation.adapt_config(path, NOTHING, {
        'overlay.image_size': 64, 'overlay.pixels': pixels, 'train_cfg.max_epochs': 2})
    for pipeline in (cfg.test_dataloader.dataset.pipeline,
                     cfg.test_cfg.train_dataloader.dataset.pipeline):
        assert pipeline[0].type == 'amt_mm.LoadPixels'
        assert pipeline[2].crop_size == 64
    assert (cfg.model.backbone.img_size, cfg.model.backbone.patch_cfg.in_channels) == (64, 1)
    # Options are for the configs that have them.
    assert not cfg.get('train_cfg')


@pytest.mark.parametrize(('given', 'shown'), [
    # As docs/evaluation.md has it, with --image-size, and with the size of pre-training.
    ({'overlay.image_size.size': 32, 'overlay.image_size.edge': 32}, 32),
    ({'overlay.image_size': 32, 'overlay.image_size.edge': 32}, 32),
    ({'overlay.image_size.edge': 96}, 64)])
def test_parts_of_the_image_size_complete_that_of_the_checkpoint(given, shown):
    encoder = Pretraining('MAE', None, dict(arch='base', patch_size=16), 64)
    path, _ = evaluation.find_config('knn', 'cifar10', encoder)
    cfg = evaluation.adapt_config(path, encoder, given)
    _, resize, crop, *_ = cfg.test_dataloader.dataset.pipeline
    assert (resize.scale, crop.crop_size) == (given['overlay.image_size.edge'], shown)
    assert cfg.model.backbone.img_size == shown


def last_rate(stages, epochs, steps=20):
    """Of the last step, as a share of the peak rate."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.)
    built = [PARAM_SCHEDULERS.build(dict(stage, optimizer=optimizer, **(
        dict(epoch_length=steps) if stage.get('convert_to_iter_based') else {})))
        for stage in stages]
    per_epoch = steps if stages[-1].get('convert_to_iter_based') else 1
    for _ in range(epochs * per_epoch - 1):
        optimizer.step()
        for stage in built:
            stage.step()
    return optimizer.param_groups[0]['lr']


@pytest.mark.parametrize('epochs', [1, 2, 30, 300])
@pytest.mark.parametrize('protocol', ['linear', 'linear4', 'finetune'])
def test_the_schedule_follows_the_epochs(protocol, epochs):
    path, _ = evaluation.find_config(protocol, 'cifar10', NOTHING)
    cfg = evaluation.adapt_config(path, NOTHING, {'train_cfg.max_epochs': epochs})
    stages = cfg.param_scheduler
    assert (stages[0].get('begin', 0), stages[-1].end) == (0, epochs)
    assert all(one.end == other.begin for one, other in zip(stages, stages[1:], strict=False))
    # A cosine by epochs ends with the rate of the last one.
    assert last_rate(stages, epochs) < .01 or (protocol == 'linear4' and epochs < 3)


def test_a_schedule_of_ones_own_stays():
    path, _ = evaluation.find_config('linear', 'cifar10', NOTHING)
    cfg = evaluation.adapt_config(path, NOTHING, {'train_cfg.max_epochs': 30,
                                                  'param_scheduler.1.end': 31})
    assert [stage.end for stage in cfg.param_scheduler] == [10, 31]


def test_unknown_data_is_refused():
    for protocol, data, how in (('knn', 'cifar11', 'in1k, flowers102 or a folder, see'),
                                ('knn', 'ade20k', 'flowers102 or a folder, see'),
                                ('segmentation', 'cifar10', 'use ade20k or a folder of images/'),
                                ('backgrounds', 'in1k', 'use in9, see'),
                                ('video-segmentation', 'in9', 'use davis2017 or a folder of its')):
        with pytest.raises(InputError, match=f'no config for {protocol} on {data}: .*{how}'):
            evaluation.find_config(protocol, data, Pretraining(None, None, {}, None))


@pytest.mark.parametrize('data', DATA)
def test_a_public_data_set_without_a_config_of_its_own_takes_that_for_folders(
        data, monkeypatch):
    pretraining = Pretraining(None, None, {}, None)
    own, _ = evaluation.find_config('linear4', data, pretraining)
    wanted = evaluation.adapt_config(own, pretraining, {})
    entry = replace(PROTOCOLS['linear4'], configs='linear/*_1xb256-last4-*_{data}.py')
    monkeypatch.setitem(PROTOCOLS, 'linear4', entry)
    config, options = evaluation.find_config('linear4', data, pretraining)
    assert config.name == 'vit-base-p16_1xb256-last4-coslr-100e_folder.py'
    found = evaluation.adapt_config(config, pretraining, options)
    assert found.optim_wrapper.optimizer.lr == .05
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert found[loader].dataset == wanted[loader].dataset
    assert found.model.head == wanted.model.head


@pytest.mark.parametrize('text', ['', "protocol = 'knn5'"])
def test_a_config_without_a_known_protocol_is_refused(tmp_path, text):
    (tmp_path / 'a.py').write_text(text)
    with pytest.raises(InputError, match='is not one of knn, .*finetune, .*; inherit from'):
        evaluation.protocol_of(tmp_path / 'a.py')


DOCS = (CONFIGS.parent / 'docs/evaluation.md').read_text()
# The option of each row in the table of protocols, with the config that its first link names.
VARIANTS = re.findall(r'^\| \[\w+\]\(\.\./configs/(\S+?)\).*\| `([\w.]+)=[^`]*` \|$', DOCS, re.M)


@pytest.mark.parametrize(('config', 'option'), [
    *VARIANTS,
    ('_base_/protocols/attentive.py', 'test_cfg.cache'),
    ('_base_/protocols/linear.py', 'train_dataloader.drop_last'),
    ('_base_/protocols/finetune_1percent.py', 'train_dataloader.dataset.few_labels.seed'),
    ('_base_/protocols/finetune_10percent.py', 'train_dataloader.dataset.few_labels.seed'),
    ('benchmarks/segmentation/vit-base-p16_segmentation_folder.py',
     'overlay.labelled.dataset.reduce_zero_label')])
def test_options_of_the_pages_and_of_messages_are_known(config, option):
    evaluation.check_known({option: 1}, [CONFIGS / config])
    wrong = f'{option}s'
    with pytest.raises(InputError, match=f'--cfg-options {wrong}: none of the chosen'):
        evaluation.check_known({wrong: 1}, [CONFIGS / config])


@pytest.mark.slow
def test_an_argument_of_a_class_reaches_the_configs_with_this_class():
    options = {'test_cfg.classifier': 'linear', 'train_dataloader.drop_last': True}
    lowshot, knn, linear = (evaluation.adapt_config(
        evaluation.find_config(protocol, 'cifar10', NOTHING)[0], NOTHING, options)
        for protocol in ('lowshot', 'knn', 'linear'))
    assert lowshot.test_cfg.classifier == 'linear' and linear.train_dataloader.drop_last
    assert 'classifier' not in knn.test_cfg and 'train_dataloader' not in knn


def test_the_table_of_protocols_has_options():
    assert len(VARIANTS) > 10
