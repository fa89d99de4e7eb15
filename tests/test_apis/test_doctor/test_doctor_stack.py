"""What the facts mean, and that a probe which dies or hangs is a finding."""

import json
import re
import sys

import pytest

from amt_mm.apis.doctor.probe import PARTS
from amt_mm.apis.doctor.stack import ask_stack, judge_stack

GPU = dict(name='A100', error='', free=70 * 2**30, memory=80 * 2**30, bf16=True)
CPU_TORCH = dict(version='2.13.0+cpu', cuda=None, threads=4, gpus=[], no_gpu='', gloo=True,
                 nccl=False)
GPU_TORCH = {**CPU_TORCH, 'version': '2.13.0', 'cuda': '12.8', 'gpus': [GPU, GPU], 'nccl': True}
WHOLE = dict(torch=CPU_TORCH, torchvision=dict(version='0.28.0'), openmmlab=dict(cpu_bf16=True),
             mmcv=dict(there=True), turbojpeg=dict(there=True))


def judged(cores=4, driver=False, **changes):
    return list(judge_stack({**WHOLE, **changes}, cores, driver))


@pytest.mark.parametrize('torch', [CPU_TORCH, GPU_TORCH])
def test_nothing_to_do(torch):
    findings = judged(torch=torch, driver=torch is GPU_TORCH)
    assert {finding.state for finding in findings} == {'ok'}
    assert sum('GPU ' in finding.text for finding in findings) == len(torch['gpus'])


@pytest.mark.parametrize(('changes', 'state', 'said'), [
    (dict(torch=dict(error='ImportError: libcudart.so.12')), 'problem', 'libcudart.*make install'),
    (dict(torch=dict(error='the process was ended by SIGILL')), 'problem', 'lacks instructions'),
    (dict(torchvision=dict(error='RuntimeError: operator torchvision::nms does not exist')),
     'warning', 'do not load with torch 2.13.0.cpu.*one index'),
    (dict(torchvision=dict(error='ModuleNotFoundError: no torchvision')), 'problem', 'torchvision '
     'does not import'),
    (dict(openmmlab=dict(error='ImportError: libGL.so.1: cannot open')), 'problem',
     'apt-get install libgl1'),
    (dict(openmmlab=dict(error='ImportError: amt_mm needs onedl-mmcv')), 'problem', 'onedl-mmcv'),
    (dict(mmcv=dict(error='ImportError: undefined symbol')), 'warning', 'make install-detection'),
    (dict(mmcv=dict(there=False)), 'ok', 'only detection needs them: make install-detection'),
    (dict(turbojpeg=dict(there=False)), 'ok', 'pip install turbojpeg'),
    (dict(cores=3), 'warning', 'export OMP_NUM_THREADS=3'),
    (dict(openmmlab=dict(cpu_bf16=False)), 'ok', 'leave out --amp bf16'),
    (dict(driver=True), 'warning', 'built for CPUs: make .venv anew'),
    (dict(torch={**GPU_TORCH, 'gpus': [], 'no_gpu': 'driver too old'}, driver=True), 'warning',
     'driver too old.*update the driver'),
    (dict(torch={**GPU_TORCH, 'gpus': []}, driver=True), 'warning', 'none is visible'),
    (dict(torch={**GPU_TORCH, 'gpus': [], 'no_gpu': 'no driver'}), 'ok', 'runs on the CPU'),
    (dict(torch={**GPU_TORCH, 'gpus': [GPU, {**GPU, 'error': 'no kernel image'}]}), 'problem',
     'GPU 1: A100 does not compute .no kernel image'),
    (dict(torch={**GPU_TORCH, 'gpus': [{**GPU, 'free': 2**30}]}), 'warning',
     '1 of 80 GiB free.*nvidia-smi'),
    (dict(torch={**GPU_TORCH, 'gpus': [{**GPU, 'bf16': False}]}), 'ok', 'use --amp fp16'),
    (dict(torch={**GPU_TORCH, 'nccl': False}), 'warning', 'no NCCL'),
    (dict(torch={**CPU_TORCH, 'gloo': False}), 'warning', 'no gloo')])
def test_what_is_wrong_is_said_with_what_to_do(changes, state, said):
    findings = judged(**changes)
    found, = [each for each in findings if re.search(said, each.text)]
    assert found.state == state and '\n' not in found.text
    assert {each.state for each in findings} - {state} <= {'ok'}


def probe(*lines, end=''):
    """A probe that says these lines and ends in this way."""
    said = '\n'.join(line if isinstance(line, str) else json.dumps(
        {'part': line[0], 'facts': line[1]}) for line in lines)
    return [sys.executable, '-c', f'import os, time\nprint({said!r}, flush=True)\n{end}']


def test_facts_are_collected_among_other_lines():
    entries = [(part, dict(number=i)) for i, part in enumerate(PARTS)]
    facts = ask_stack(probe('Could not import OneDL', *entries, 'the end'))
    assert facts == {part: dict(number=i) for i, part in enumerate(PARTS)}


@pytest.mark.slow
@pytest.mark.parametrize(('end', 'limit', 'said'), [
    ('os.kill(os.getpid(), 4)', 60, 'the process was ended by SIGILL'),
    ('import sys; sys.exit("no such thing")', 60,
     'the process ended with status 1: no such thing'),
    ('time.sleep(99)', 2, 'not done in 2 s')])
def test_a_probe_that_ends_early(end, limit, said):
    facts = ask_stack(probe(('torch', CPU_TORCH), end=end), limit)
    assert facts == dict(torch=CPU_TORCH, torchvision=dict(error=said))
    assert [each.state for each in judge_stack(facts, 4, False)].count('problem') == 1


def test_packages_that_do_not_import(tmp_path, monkeypatch):
    (tmp_path / 'torch.py').write_text('raise ImportError("libtorch.so is broken\\nat length")')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    facts = ask_stack()
    assert facts['torch'] == dict(error='ImportError: libtorch.so is broken')
    assert set(facts) == set(PARTS)
    finding, = judge_stack(facts, 4, False)
    assert finding.state == 'problem' and 'libtorch.so is broken' in finding.text


def test_each_part_looks_at_this_environment():
    assert PARTS['torch']()['gloo'] is True
    assert PARTS['openmmlab']()['cpu_bf16'] in (True, False)
    assert {'there'} == set(PARTS['turbojpeg']()) == set(PARTS['mmcv']())
