"""The first screen of a run: a short summary, and MMEngine's dumps in the log file alone."""

import re
from pathlib import Path

import pytest
from mmengine.runner import Runner

log_env = Runner._log_env


@pytest.fixture
def trained(toy_runner, capsys, monkeypatch):
    """Train a toy with MMEngine's full log; what is on the screen, and the log file."""

    def run(**settings):
        # The toy runner leaves the environment out, which takes a second to find.
        monkeypatch.setattr(Runner, '_log_env', log_env)
        monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
        capsys.readouterr()
        runner = toy_runner(log_level='INFO', epochs=2, cfg=dict(name='toy'), **settings)
        runner.train()
        return capsys.readouterr().out, Path(runner.logger.log_file).read_text()

    return run


def test_it_names_data_model_cost_and_hooks_and_draws_nothing(trained, toy_runner):
    screen, _ = trained()
    assert re.search(r'data: +7 training images; held out: nothing', screen)
    assert re.search(r'model: +AMTMAE, AMTMAEViT, AMTMaskGenerator; 0\.0 M parameters', screen)
    # Of 35 tokens 6 are visible and 15 masked; one more is [CLS].
    assert re.search(r'cost: +2 epochs, 6 steps of 3 images on one process; tokens per image at '
                     r'the end of training: encoder 7, decoder 22', screen)
    assert re.search(r'hooks: .*SafeCheckpoint', screen)


def test_dumps_of_mmengine_are_in_the_file_alone(trained):
    paramwise = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=.1),
                     paramwise_cfg=dict(custom_keys={'backbone': dict(decay_mult=0.0)}))
    screen, file = trained(optim_wrapper=paramwise)
    for dump in ('Config:\n', 'Hooks will be executed', 'System environment:'):
        assert dump in file and dump not in screen
    for noise in ('paramwise_options', 'FileClient'):
        assert noise not in file + screen
    assert len(screen.splitlines()) <= 25


def test_masks_are_those_of_a_run_without_it(toy_runner):
    plans = []
    for hooks in (dict(logger=None), dict(logger=None, summary=None)):
        runner = toy_runner(work_dir=f'run{len(plans)}', epochs=1, default_hooks=hooks)
        runner.train()
        plans.append([step['masked'].tolist() for step in runner.recorder.steps])
    assert plans[0] == plans[1]
