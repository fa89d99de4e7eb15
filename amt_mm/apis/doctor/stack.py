"""What the facts about the stack, the CPU and the GPUs mean."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .finding import Finding, ok, problem, warning
from .probe import PARTS
from .versions import INSTALL

_LIMIT = 300  # seconds for imports that take some ten; from a cold disk they take minutes
PROBE = (sys.executable, '-m', 'amt_mm.apis.doctor.probe')


def own_environment() -> dict[str, str]:
    """The environment of processes that import this amt_mm, installed or not."""
    root = str(Path(__file__).parents[3])
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(
        filter(None, [root, os.environ.get('PYTHONPATH')]))}


def ask_stack(command: Sequence[str] = PROBE, limit: float = _LIMIT) -> dict[str, dict]:
    """Start the probe and collect what it says.

    Args:
        command: The probe.
        limit: Seconds that it may take.

    Returns:
        Part -> facts, or ``error``. The part at which the process ended has its end as the error;
        parts after it are missing.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors='replace',
                              timeout=limit, env=own_environment())
        said, end = done.stdout, _end(done)
    except subprocess.TimeoutExpired as expired:
        said, end = (expired.stdout or b'').decode(errors='replace'), f'not done in {limit:.0f} s'
    facts = {}
    for line in said.splitlines():
        # Packages print lines of their own.
        if line.startswith('{"part": '):
            entry = json.loads(line)
            facts[entry['part']] = entry['facts']
    left = [part for part in PARTS if part not in facts]
    if left:
        facts[left[0]] = dict(error=end)
    return facts


def _end(done: subprocess.CompletedProcess) -> str:
    if done.returncode < 0:
        return f'the process was ended by {signal.Signals(-done.returncode).name}'
    last = (done.stderr.strip().splitlines() or [''])[-1]
    return f'the process ended with status {done.returncode}: {last}'


def driver_is_here() -> bool:
    """Whether the machine has a driver of NVIDIA."""
    return Path('/proc/driver/nvidia/version').exists() or shutil.which('nvidia-smi') is not None


def judge_stack(facts: Mapping[str, Mapping], cores: int, driver: bool) -> Iterator[Finding]:
    """Say what the facts mean.

    Args:
        facts: From :func:`ask_stack`.
        cores: That this process may use.
        driver: Whether there is a driver for GPUs.
    """
    torch = facts['torch']
    if 'error' in torch:
        yield problem(f'torch does not import ({torch["error"]}): {advice_on(torch["error"])}')
        return
    stack = facts.get('openmmlab', {})
    yield from _torchvision(facts.get('torchvision', {}), torch)
    if 'error' in stack:
        yield problem(f'mmengine, mmcv and mmpretrain do not import ({stack["error"]}): '
                      f'{advice_on(stack["error"])}')
    else:
        yield ok('mmengine, mmcv and mmpretrain import')
        yield from _optional(facts)
    yield _cpu(torch, stack, cores)
    yield from _gpus(torch, driver)
    yield _exchange(torch)


def advice_on(error: str) -> str:
    """Say what to do about an error of an import, as text."""
    if 'libGL' in error or 'libgthread' in error:
        return ('OpenCV needs libraries of the system: apt-get install libgl1 libglib2.0-0, or '
                'pip install opencv-python-headless in place of opencv-python')
    if 'SIGILL' in error:
        return 'this CPU lacks instructions that the build uses: install another build'
    return INSTALL


def _torchvision(facts: Mapping, torch: Mapping) -> Iterator[Finding]:
    error = facts.get('error')
    if error is None:
        yield ok(f'torchvision {facts["version"]} fits torch {torch["version"]}: its operators '
                 'load')
    elif 'torchvision::' in error:
        yield warning(f'the operators of torchvision do not load with torch {torch["version"]}. '
                      'amt_mm does not call them; for code that does, install both from one index '
                      '(rm -rf .venv, then make install PIP_TORCH="--index-url ...")')
    else:
        yield problem(f'torchvision does not import ({error}): {advice_on(error)}')


def _optional(facts: Mapping[str, Mapping]) -> Iterator[Finding]:
    operators, jpeg = facts.get('mmcv', {}), facts.get('turbojpeg', {})
    if 'error' in operators:
        yield warning(f"mmcv's operators do not load ({operators['error']}), as when they were "
                      'built for another torch; only detection needs them: make install-detection')
    elif operators.get('there'):
        yield ok("mmcv's operators load (for detection)")
    else:
        yield ok('mmcv has no compiled operators; only detection needs them: '
                 'make install-detection')
    if jpeg.get('there'):
        yield ok('libturbojpeg loads (for the fast input pipeline)')
    else:
        yield ok('libturbojpeg 3 is not installed; only the fast input pipeline uses it: pip '
                 'install turbojpeg')


def _cpu(torch: Mapping, stack: Mapping, cores: int) -> Finding:
    bf16 = {True: 'instructions for bf16', False: 'no instructions for bf16 (leave out --amp bf16 '
            'on the CPU)', None: 'bf16 unknown'}[stack.get('cpu_bf16')]
    text = f'CPU cores: {cores}, threads per process: {torch["threads"]}, {bf16}'
    if torch['threads'] > cores:
        return warning(f'{text}; more threads than cores wait for each other: '
                       f'export OMP_NUM_THREADS={cores}')
    return ok(text)


def _gpus(torch: Mapping, driver: bool) -> Iterator[Finding]:
    if not torch['gpus'] and not driver:
        yield ok('GPU: none; training runs on the CPU')
    elif not torch['cuda']:
        yield warning('GPU: there is a driver of NVIDIA, but this torch is built for CPUs: '
                      'make .venv anew with the default build, which brings CUDA (rm -rf .venv, '
                      'then make install), or install one from an index of CUDA builds')
    elif not torch['gpus']:
        yield warning(f'GPU: there is a driver of NVIDIA, but this torch, built for CUDA '
                      f'{torch["cuda"]}, finds none ({torch["no_gpu"] or "none is visible"}): '
                      'update the driver, or install a torch for an older CUDA; '
                      'CUDA_VISIBLE_DEVICES must not hide it')
    for number, gpu in enumerate(torch['gpus']):
        name = f'GPU {number}: {gpu["name"]}'
        if gpu['error']:
            yield problem(f'{name} does not compute ({gpu["error"]}): it and its driver must fit '
                          f'torch {torch["version"]} (CUDA {torch["cuda"]}); or hide it by '
                          'CUDA_VISIBLE_DEVICES')
            continue
        text = (f'{name}, {gpu["free"] / 2**30:.0f} of {gpu["memory"] / 2**30:.0f} GiB free, CUDA '
                f'{torch["cuda"]}' + ('' if gpu['bf16'] else ', no bf16 (use --amp fp16)'))
        if gpu['free'] < gpu['memory'] / 2:
            yield warning(f'{text}; another process holds the rest: nvidia-smi names it')
        else:
            yield ok(text)


def _exchange(torch: Mapping) -> Finding:
    if not torch['gloo']:
        return warning('this torch has no gloo, so only one process can train: install '
                       'another build of torch')
    if len(torch['gpus']) > 1 and not torch['nccl']:
        return warning('this torch has no NCCL, so only one GPU can train: install another '
                       'build of torch')
    return ok('processes can exchange by gloo' + (' and NCCL' if torch['nccl'] else ''))
