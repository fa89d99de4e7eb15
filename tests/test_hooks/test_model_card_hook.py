"""ModelCardHook: what the card of a finished pre-training says, and which runs have none."""

import os
from pathlib import Path

import pytest
from distillation_toys import MODEL, multi_crop
from huggingface_hub import ModelCard
from mmengine.hooks import Hook
from torch import nn

from amt_mm.datasets import dataset_fingerprint
from amt_mm.errors import InputError, TrainingStopped
from amt_mm.guidance import MapsFromFileHook
from amt_mm.hooks import ModelCardHook
from amt_mm.hooks.model_card import add_figures
from amt_mm.hooks.probe_hook import ProbeHook


class Probe(ProbeHook):
    title, prefix = 'toy probe', 'toy'

    def build(self):
        pass

    def measure(self, runner):
        return {'toy/top1': 41.5}

    def describe(self, scalars):
        return f'{scalars["toy/top1"]} %', '7 images'


def card_of(runner):
    return ModelCard.load(Path(runner.work_dir, 'model_card.md'))


def table(card):
    rows = [line.strip('| ').split(' | ') for line in card.text.splitlines() if line[:2] == '| ']
    return dict(row for row in rows if len(row) == 2)


def test_a_card_of_hugging_face_says_what_the_run_was(toy_runner):
    runner = toy_runner(epochs=2)
    runner.train()
    card = card_of(runner)
    assert card.data.license == 'unknown' and card.data.library_name == 'amt_mm'
    assert card.data.pipeline_tag == 'image-feature-extraction'
    assert card.data.tags == ['masked-image-modeling', 'self-supervised-learning',
                              'vision-transformer']
    found = table(card)
    assert found['method'] == 'AMTMAE' and found['images'] == '40 x 56 pixels'
    weights = sum(each.numel() for each in runner.model.backbone.parameters())
    assert found['encoder'] == (f'2 blocks of width 24, patches of 8 pixels, {weights / 1e6:.1f} M '
                                'parameters')
    assert dataset_fingerprint(runner.train_dataloader.dataset) in found['data']
    assert found['data'].startswith('7 images') and found['seed'] == '0'
    assert found['training'] == '2 epochs, 6 steps of 3 images'
    assert 'maps' not in found and '## Figures\n\nNot measured.\n' in card.text
    for command in ('embed', 'export', 'evaluate'):
        assert f'amt {command} epoch_2.pth ' in card.text


def test_names_are_no_markup(toy_runner):
    name = os.fsdecode(b'caf\xe9 <img src=x>\x1b[2J')
    runner = toy_runner(name, epochs=1, cfg=dict(
        optim_wrapper=dict(optimizer=dict(type='AdamW`<b>', lr=.5))))
    runner.train()
    card = card_of(runner)
    assert '# caf\\udce9 &lt;img src=x&gt;\\x1b[2J\n' in card.text
    assert table(card)['optimiser'] == "`AdamW'<b>(lr=0.5)`"


def test_settings_stand_as_in_the_config_without_places_of_this_machine(toy_runner, tmp_path):
    cfg = dict(
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=.5, betas=(.9, .95))),
        custom_hooks=[dict(type='amt_mm.MapsFromFileHook', path=f'{tmp_path}/m|aps.npz', begin=7)],
        data_preprocessor=dict(mask_generator=dict(type='amt_mm.AMTMaskGenerator',
                                                   weighting=dict(cap=.5))))
    runner = toy_runner(epochs=1, cfg=cfg)
    runner.train()
    runner.register_hook(MapsFromFileHook('maps.npz'))
    ModelCardHook(license='apache-2.0').after_train(runner)
    card, found = card_of(runner), table(card_of(runner))
    assert card.data.license == 'apache-2.0'
    assert card.data.tags[-1] == 'attention-guided-masking'
    assert found['optimiser'] == '`AdamW(lr=0.5, betas=(0.9, 0.95))`'
    assert found['masks'] == "`AMTMaskGenerator(weighting={'cap': 0.5})`"
    assert found['maps'] == r"`MapsFromFileHook(path='m\|aps.npz', begin=7)`"
    assert str(tmp_path) not in card.text


def test_what_probes_measured_last_is_on_it(toy_runner):
    runner = toy_runner(hooks=[Probe(interval=2)], epochs=3)
    runner.train()
    text = card_of(runner).text
    assert '## Figures\n\n- toy probe after 3 epochs: 41.5 % (7 images)\n' in text
    assert 'Not measured' not in text


def test_a_run_that_is_stopped_has_none_until_it_has_finished(toy_runner):
    class Stop(Hook):
        def after_train_epoch(self, runner):
            raise TrainingStopped('stopped')

    runner = toy_runner(hooks=[Stop()])
    with pytest.raises(TrainingStopped):
        runner.train()
    assert not Path(runner.work_dir, 'model_card.md').exists()
    resumed = toy_runner(epochs=2, resume=True)
    resumed.train()
    assert table(card_of(resumed))['training'].startswith('2 epochs')


def test_self_distillation_has_one_and_other_trainings_none(toy_runner, toy_images):
    runner = toy_runner(model=MODEL, dataset=toy_images(4, multi_crop()), epochs=1,
                        custom_hooks=[dict(type='amt_mm.TeacherUpdateHook')])
    runner.train()
    found = table(card_of(runner))
    assert found['method'] == 'IBOT' and found['masks'] == 'CropMasking'
    runner.model = nn.Linear(2, 2)
    Path(runner.work_dir, 'model_card.md').unlink()
    ModelCardHook().after_train(runner)
    assert not Path(runner.work_dir, 'model_card.md').exists()


def test_a_card_that_cannot_be_written_is_a_warning(toy_runner, monkeypatch):
    runner = toy_runner(epochs=1)
    Path(runner.work_dir, 'model_card.md').mkdir(parents=True)
    said = []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *args: said.append(text))
    runner.train()
    assert any('no model card' in text for text in said)


@pytest.mark.parametrize('license', ['', None, 2.0])
def test_a_licence_is_a_text(license):
    with pytest.raises(InputError, match='license='):
        ModelCardHook(license)


def test_figures_are_added_to_a_card(toy_runner, tmp_path):
    runner = toy_runner(epochs=1)
    runner.train()
    path = Path(runner.work_dir, 'model_card.md')
    before = path.read_text()
    add_figures(path, [])
    assert path.read_text() == before
    add_figures(path, ['k-NN: 41.0 %', 'linear: 52.0 %'])
    assert path.read_text() == before.replace('Not measured.\n',
                                              '- k-NN: 41.0 %\n- linear: 52.0 %\n')
    add_figures(path, ['low-shot: 9.0 %'])
    assert '## Figures\n\n- low-shot: 9.0 %\n- k-NN: 41.0 %\n' in path.read_text()
    own = tmp_path / 'own.md'
    own.write_text('# Mine\n')
    add_figures(own, ['k-NN: 41.0 %'])
    assert own.read_text() == '# Mine\n'
    add_figures(tmp_path / 'none.md', ['k-NN: 41.0 %'])
    assert not (tmp_path / 'none.md').exists()
