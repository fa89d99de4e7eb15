"""one_line_errors: whatever ends a tool is one line, and a fault of the program is none of it."""

import errno
import logging
import os
import signal
import subprocess
import sys
import warnings

import pytest
import torch
from mmengine.registry import DATASETS, HOOKS, OPTIMIZERS
from mmengine.runner import Runner

from amt_mm.apis.jobs import RunError
from amt_mm.errors import InputError
from amt_mm.messages import one_line_errors, say


def ended(capsys, error):
    """Status and line of a tool that ends by an error."""
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise error
    line, = capsys.readouterr().err.splitlines()
    return stop.value.code, line


@pytest.mark.parametrize(('error', 'line'), [
    (OSError(errno.ENOSPC, 'No space left on device'), 'the disk is full: make room'),
    (OSError(errno.EDQUOT, 'Quota', 'a/b'), 'a/b: the disk is full: make room'),
    (OSError(errno.EROFS, 'Read-only file system', b'a/\xff'), 'a/\\udcff: Read-only file system'),
    (FileNotFoundError(errno.ENOENT, 'No such file', 'a\nb'), 'a\\nb: No such file'),
    (OSError('Caught OSError in DataLoader worker process 0.\nTraceback ...\nOSError: cut'),
     'OSError: cut'), (OSError(), 'OSError')])
def test_what_the_system_refuses(capsys, error, line):
    status, said = ended(capsys, error)
    assert status == 2 and said.startswith(f'error: {line}')


def test_a_tool_that_failed_has_said_why(capsys):
    assert ended(capsys, RunError('it failed, see a.log')) == (1, 'error: it failed, see a.log')


def test_a_warning_of_python_is_one_line_without_code(monkeypatch):
    monkeypatch.setenv('RANK', '2')
    before = warnings.formatwarning
    with one_line_errors():
        said = warnings.formatwarning(UserWarning('k = 20\nuses all'), UserWarning, 'a.py', 3)
    assert said == 'warning (rank 2): k = 20\\nuses all\n'
    assert warnings.formatwarning is before


def build_loader():
    return Runner.build_dataloader(dict(
        dataset=[1], batch_size=1, timeout=-1, sampler=dict(type='DefaultSampler', shuffle=False)))


@pytest.mark.parametrize(('build', 'line'), [
    (lambda: OPTIMIZERS.build(dict(type='AdamW', params=[torch.zeros(1)], lr=-1)),
     'Invalid learning rate: -1'),
    (lambda: OPTIMIZERS.build(dict(type='AdamW', params=[torch.zeros(1)], lr='x')), "'<=' not"),
    (lambda: HOOKS.build(dict(type='NoSuchHook')), 'NoSuchHook is not in the mm'),
    (lambda: DATASETS.build(dict(type='RepeatDataset', dataset=3, times=2)), ''),
    (build_loader, 'timeout option should be non-negative')])
def test_what_a_library_refuses_of_a_config(capsys, build, line):
    with pytest.raises(SystemExit) as stop, one_line_errors():
        build()
    said, = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and said.startswith(f'error: config: {line}')


@pytest.mark.parametrize('error', [ValueError, AssertionError, KeyError, AttributeError])
def test_a_fault_of_a_class_of_ones_own_is_none_of_the_config(error):
    @HOOKS.register_module(name='FaultyHook', force=True)
    class FaultyHook:
        def __init__(self):
            raise error('mine')

    with pytest.raises(error), one_line_errors():
        HOOKS.build(dict(type='FaultyHook'))


def test_a_log_that_cannot_be_written_ends_the_tool(capsys):
    logger = logging.getLogger('full')
    handler = logging.FileHandler('/dev/full')
    logger.addHandler(handler)
    try:
        with pytest.raises(SystemExit) as stop, one_line_errors():
            logger.warning('lost')
    finally:
        logger.removeHandler(handler)
    line, = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and line.startswith('error: /dev/full: the disk is full')
    # Outside of a tool, nothing has changed.
    assert logging.Handler.handleError.__module__ == 'logging'


def test_names_are_fit_for_the_terminal_wherever_they_are_said(capsys, tmp_path):
    name = os.fsdecode(b'caf\xe9 \x1b[31m')
    logger = logging.getLogger('names')
    handlers = [logging.StreamHandler(sys.stderr), logging.FileHandler(tmp_path / 'a.log')]
    for handler in handlers:
        logger.addHandler(handler)
    try:
        with one_line_errors():
            logger.warning('read %s', name)
            say('warning', name)
            print(os.fsdecode(b'caf\xe9'))
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
    shown = 'caf\\udce9 \\x1b[31m'
    said = capsys.readouterr()
    assert said.err == f'read {shown}\nwarning: {shown}\n' and said.out == 'caf\\udce9\n'
    assert (tmp_path / 'a.log').read_text() == f'read {shown}\n'


TOOL = '''
import os, signal, sys
from amt_mm.messages import one_line_errors
with one_line_errors('go on'):
    {}
'''


def in_a_shell(code, after=''):
    return subprocess.run(['bash', '-c', f'"$0" -c "$1" {after}', sys.executable,
                           TOOL.format(code)], capture_output=True, text=True,
                          start_new_session=True)


def test_ctrl_c_is_a_line_and_ends_the_loop_of_a_script():
    """As a terminal does it, to the shell and to what it runs."""
    done = in_a_shell('os.killpg(0, signal.SIGINT)', '; echo goes on')
    assert done.stderr.splitlines()[-1] == 'interrupted: go on'
    assert 'Traceback' not in done.stderr and 'goes on' not in done.stdout
    assert done.returncode == -signal.SIGINT


def test_ctrl_c_of_which_a_library_makes_another_error():
    done = in_a_shell('try:\n        os.kill(os.getpid(), signal.SIGINT)\n'
                      '    except BaseException:\n        raise SyntaxError("no config")')
    assert (done.stderr, done.returncode) == ('interrupted: go on\n', -signal.SIGINT)


def test_ctrl_c_raises_from_here_on_and_says_no_more_afterwards():
    """Before, it ended the process: amt_mm.cli.parse_first."""
    code = TOOL.replace('with', 'signal.signal(signal.SIGINT, signal.SIG_DFL)\nwith').format(
        'pass') + 'os.kill(os.getpid(), signal.SIGINT)\n'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, '')
    done = in_a_shell('signal.signal(signal.SIGINT, signal.SIG_IGN)\n'
                      '    with one_line_errors("x"):\n        os.kill(os.getpid(), 2)\n'
                      '    print("goes on")')
    assert done.stdout == 'goes on\n'


def test_a_reader_that_has_gone_is_no_fault():
    done = in_a_shell('[print(i) for i in range(99999)]', '| head -1; echo ${PIPESTATUS[0]}')
    assert done.stdout.split()[-1] == '141' and 'BrokenPipe' not in done.stderr


def test_a_pipe_that_breaks_elsewhere_is_a_fault():
    with pytest.raises(BrokenPipeError), one_line_errors():
        raise BrokenPipeError


@pytest.mark.parametrize('text', [
    '{}', 'Caught UnreadableImage in DataLoader worker process 0.\nOriginal Traceback (most recent '
    'call last):\n  File "a.py", line 1\namt_mm.errors.UnreadableImage: {}\n'])
def test_a_name_with_an_end_of_line_does_not_hide_what_is_wrong(capsys, text):
    with pytest.raises(SystemExit), one_line_errors():
        raise InputError(text.format('a\nerror: b.jpg: unreadable image'))
    assert capsys.readouterr().err == 'error: a\\nerror: b.jpg: unreadable image\n'
