"""k-NN, the input pipeline and the marked tests: what each says, and when it has failed."""

import subprocess
from types import SimpleNamespace

import pytest
import torch

from lab.benchmark.batches import make_images
from lab.benchmark.jpegs import make_jpegs
from lab.gpu_check import features, marked_tests
from lab.gpu_check.check import Failed
from lab.gpu_check.features import measure_knn
from lab.gpu_check.marked_tests import run_tests
from lab.gpu_check.pipeline import measure_pipeline


def test_knn_is_compared_with_the_cpu(monkeypatch):
    assert measure_knn(70, 45, 9, 5)['outcome'].startswith('45 among 70 in ')
    answers = iter([0, 1, 2])
    monkeypatch.setattr(features, 'knn_rank', lambda *args, **kwargs: {
        20: torch.full((45, 1), next(answers))})
    with pytest.raises(Failed, match='not those of the CPU'):
        measure_knn(70, 45, 9, 5)


@pytest.mark.slow
def test_the_pipeline_is_set_beside_the_fastest_step(tmp_path):
    (tmp_path / 'jpegs').mkdir()
    make_jpegs(make_images(tmp_path / 'images', 3), tmp_path / 'jpegs', 3, (50, 37), 900)
    speeds = {('ViT-B', 'MAE', 'bf16'): 1500.4, ('ViT-S', 'MAE', 'bf16'): 4000.}
    row = measure_pipeline(tmp_path / 'jpegs', 0, 5, .05, speeds)
    assert row['images'] > 0 and row['batch'] == 5
    assert row['outcome'].endswith('the fastest step (ViT-S, MAE, bf16) takes 4,000')
    assert 'fastest' not in measure_pipeline(tmp_path / 'jpegs', 0, 5, .05, {})['outcome']


def test_all_files_with_the_mark_are_run(monkeypatch):
    called = []

    def run(command, **kwargs):
        called.extend(command)
        return SimpleNamespace(returncode=code, stdout=f'.s\n{said}\n', stderr='')

    monkeypatch.setattr(marked_tests.subprocess, 'run', run)
    code, said = 0, '3 passed, 1 skipped in 2s'
    assert run_tests(9) == {'outcome': '3 passed, 1 skipped in 2s'}
    assert any(part.endswith('tests/test_evaluation/test_knn.py') for part in called)
    assert not any(part.endswith('test_bf16.py') for part in called)
    code = 1
    with pytest.raises(Failed, match='3 passed'):
        run_tests(9)
    code, said = 0, '3 skipped in 2s'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    with pytest.raises(Failed, match='3 skipped'):
        run_tests(9)


def test_tests_that_do_not_end_have_failed(monkeypatch):
    def run(command, timeout, **kwargs):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(marked_tests.subprocess, 'run', run)
    with pytest.raises(Failed, match='no result after 9 s'):
        run_tests(9)
