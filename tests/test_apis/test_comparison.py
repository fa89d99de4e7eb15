"""comparison: finished runs are not repeated, and tables have the right figures."""

import json
import statistics

import pytest
from mmengine.config import Config

from amt_mm import shipped
from amt_mm.apis import comparison, jobs
from amt_mm.errors import InputError

TINY = {
    'train_dataloader.batch_size': 8,
    'train_dataloader.dataset.num_samples': 12,  # the last batch of an epoch is half empty
    'probe.train.num_samples': 30,
    'probe.test.num_samples': 20,
    'train_cfg.max_epochs': 3,
    'default_hooks.checkpoint.interval': 3,
    'default_hooks.logger.interval': 1,
}
QUICKSTART = 'quickstart/mae-amt_vit-mini-p8_1xb128-coslr-24e_scenes.py'


def test_summarise_gives_mean_and_standard_deviation():
    runs = [{'knn': 30.0, 'seconds_per_step': .5, 'encoder_tokens': 17},
            {'knn': 33.0, 'seconds_per_step': .7, 'encoder_tokens': 17}]
    cells = comparison.summarise(runs)
    assert cells['knn'] == f'31.5 ± {statistics.stdev([30, 33]):.1f}'
    assert cells['seconds_per_step'] == '0.600 ± 0.141'
    assert cells['encoder_tokens'] == 17
    assert 'linear_cls' not in cells
    assert comparison.summarise(runs[:1])['knn'] == '30.0'


def test_seconds_per_step_is_the_median_of_the_second_half(tmp_path):
    folder = tmp_path / '20200101_000000' / 'vis_data'
    folder.mkdir(parents=True)
    records = [{'time': t, 'loss': 1} for t in (9, 9, 9, 1, 3, 2)] + [{'saliency/entropy': 1}]
    (folder / 'scalars.json').write_text(''.join(f'{json.dumps(r)}\n' for r in records))
    assert comparison.seconds_per_step(tmp_path) == 2
    assert comparison.seconds_per_step(tmp_path / 'nothing') is None


@pytest.mark.slow
def test_a_run_is_trained_evaluated_and_not_repeated(tmp_path):
    config = str(shipped.configs_folder() / QUICKSTART)
    options = {**TINY, 'overlay.hooks.saliency.begin': 1, 'overlay.hooks.saliency.interval': 1}
    result = comparison.run(config, 1, tmp_path, options, threads=1, show=())
    # 8x8 patches at .45/.40: 28 masked, 26 thrown, 10 visible; [CLS] besides.
    assert (result['encoder_tokens'], result['decoder_tokens']) == (11, 39)
    assert 0 <= result['knn'] <= 100 and 0 <= result['linear_mean'] <= 100
    assert 10 < result['object_area'] < 33
    assert sorted(p.name for p in (tmp_path / 'saliency').iterdir()) == [
        'epoch_1.amtmap', 'epoch_2.amtmap']
    card = (tmp_path / 'model_card.md').read_text()
    assert f'- k-NN: {result["knn"]:.1f} % (`tools/judge.py`, 20 test images)\n' in card
    assert 'a step' not in card and 'Not measured' not in card
    (tmp_path / 'result.json').write_text(json.dumps({'knn': -1}))
    assert comparison.run(config, 1, tmp_path, options) == {'knn': -1}
    # The folder must not be reused for other settings.
    with pytest.raises(InputError, match='run of other settings'):
        comparison.run(config, 1, tmp_path, {**options, 'train_cfg.max_epochs': 4})
    with pytest.raises(InputError, match='run of other settings'):
        comparison.run(config, 2, tmp_path, options)


def test_measures_without_labels_stand_on_the_card(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, 'claim_with_images', lambda cfg, work_dir: tmp_path / 'cfg.py')
    monkeypatch.setattr(comparison, 'train', lambda *args, **kwargs: tmp_path / 'epoch_1.pth')
    monkeypatch.setattr(comparison, 'judge_in_a_process',
                        lambda *args: {'attention_on_object': 31.25, 'encoder_tokens': 11})
    for encoder in ('student', None):
        card = tmp_path / 'model_card.md'
        card.write_text('## Figures\n\nNot measured.\n')
        comparison.run_resolved(Config(dict(randomness=dict(seed=0))), tmp_path, encoder=encoder)
        found = card.read_text().removeprefix('## Figures\n\n')
        # The card is of the encoder that is loaded by default.
        assert found == ('Not measured.\n' if encoder else
                         '- attention on object: 31.2 % (`tools/judge.py`)\n')


def test_a_config_that_cannot_be_evaluated_is_refused_before_training(tmp_path):
    config = str(shipped.configs_folder() / 'mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py')
    with pytest.raises(InputError, match='no `probe`'):
        comparison.run(config, 0, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_a_section_that_is_a_number_is_refused_before_the_overlay_changes_it():
    with pytest.raises(InputError, match='train_dataloader=4 must be a dict or list'):
        comparison.resolved(str(shipped.configs_folder() / QUICKSTART), {'train_dataloader': 4})


@pytest.mark.slow
def test_failed_training_is_an_error(tmp_path, monkeypatch):
    config = str(shipped.configs_folder() / QUICKSTART)
    (tmp_path / 'train.py').write_text('1 / 0')
    monkeypatch.setattr(jobs, 'tools_folder', lambda: tmp_path)
    with pytest.raises(RuntimeError, match='train.log'):
        comparison.run(config, 0, tmp_path, TINY, show=())
    assert not (tmp_path / 'result.json').exists()


def test_differences_are_paired_by_seed():
    from scipy.stats import ttest_rel
    ours = [{'knn': 30., 'linear_cls': 1.}, {'knn': 33.}, {'knn': 35.}]
    theirs = [{'knn': 31.}, {'knn': 35.5}, {'knn': 36.}]
    wanted = ttest_rel([30, 33, 35], [31, 35.5, 36]).confidence_interval(.95)
    cells = comparison.paired_differences(ours, theirs)
    assert cells == {'knn': f'-1.5 ± {(wanted.high - wanted.low) / 2:.1f}'}
    assert comparison.paired_differences(ours[:1], theirs[:1]) == {}


def test_a_run_is_known_whatever_the_speed_of_its_loaders():
    def known(workers):
        cfg = Config(dict(train_dataloader=dict(batch_size=4, num_workers=workers, dataset={})))
        return comparison.without_places(cfg, cfg.to_dict())

    assert known(8) == known(1) == dict(train_dataloader=dict(batch_size=4, dataset={}))


def test_before_training_an_encoder_is_that_of_the_given_file(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(comparison, 'claim_with_images', lambda cfg, folder: folder / 'config.py')
    monkeypatch.setattr(comparison, 'judge_into',
                        lambda folder, cfg, checkpoint: asked.append(checkpoint) or {'knn': 1})
    for more in ({}, dict(checkpoint='a.pth')):
        assert comparison.untrained(None, tmp_path, **more) == {'knn': 1}
    assert asked == ['none', 'a.pth']
