"""jobs: tools as processes: logs, failures, stopping."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from forked_script import started

from amt_mm.apis import jobs
from amt_mm.errors import InputError
from amt_mm.file_lock import file_lock
from amt_mm.shipped import tools_folder


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The factory ``tool(code)`` of a tools/train.py that runs this code."""
    folder = tmp_path / 'tools'
    folder.mkdir()
    monkeypatch.setattr(jobs, 'tools_folder', lambda: folder)

    def make(code):
        (folder / 'train.py').write_text('import os, sys, time\n' + textwrap.dedent(code))

    return make


def run(work_dir, **options):
    work_dir.mkdir(exist_ok=True)
    jobs.run_tool('train', ['a.py'], ['--resume'], work_dir, **options)


def test_arguments_threads_and_what_is_shown(tool, tmp_path, capsys):
    tool('print("Epoch 1", sys.argv[1:], os.environ["OMP_NUM_THREADS"])\nprint("noise")')
    run(tmp_path / 'run', threads=3, show=['Epoch'])
    line = f"Epoch 1 ['a.py', '--work-dir', '{tmp_path / 'run'}', '--resume'] 3\n"
    assert capsys.readouterr().out == line
    assert (tmp_path / 'run/train.log').read_text() == line + 'noise\n'


def test_several_processes_have_the_interpreter_of_this_one(tool, tmp_path, monkeypatch):
    tool('')
    (tmp_path / 'tools/dist_train.sh').write_text(
        f'source {tools_folder()}/launch_processes.sh\nfind_python /nowhere\n')
    monkeypatch.setenv('CONDA_PREFIX', '/another')
    monkeypatch.delenv('PYTHON', raising=False)
    run(tmp_path / 'run', processes=2, show=[])
    assert (tmp_path / 'run/train.log').read_text() == f'{sys.executable}\n'


def test_a_failure_is_in_the_log_that_the_message_names(tool, tmp_path, capsys):
    tool('raise KeyError("the cause")')
    with pytest.raises(jobs.RunError, match=r'status 1, see .*train\.log'):
        run(tmp_path / 'run', show=[])
    assert "KeyError: 'the cause'" in (tmp_path / 'run/train.log').read_text()
    assert "KeyError: 'the cause'" in capsys.readouterr().err


@pytest.mark.parametrize('end', ['sys.exit(75)', 'sys.exit(130)', 'os.kill(os.getpid(), 2)'])
def test_a_stopped_run_says_how_to_continue(tool, tmp_path, end):
    tool(f'import signal\nsignal.signal(2, signal.SIG_DFL)\n{end}')
    with pytest.raises(jobs.RunError, match='was stopped: run the same command'):
        run(tmp_path / 'run', show=[])


def test_refused_input_raises_an_input_error(tool, tmp_path):
    tool('sys.exit(2)')
    with pytest.raises(InputError, match='refused its input'):
        run(tmp_path / 'run', show=[])


def test_a_second_run_in_the_same_folder_is_refused(tool, tmp_path):
    tool('pass')
    (tmp_path / 'run').mkdir()
    with file_lock(tmp_path / 'run'), pytest.raises(InputError, match='another process'):
        run(tmp_path / 'run')
    run(tmp_path / 'run')


def test_a_process_forked_by_another_thread_keeps_no_lock(tmp_path):
    """Between fork and exec a child has all our files open, including the lock."""
    forked, done = tmp_path / 'forked', tmp_path / 'done'

    def wait_before_exec():
        forked.touch()
        until(done.is_file)

    with file_lock(tmp_path):
        other = threading.Thread(target=subprocess.run, args=(['true'],), kwargs=dict(
            preexec_fn=wait_before_exec))
        other.start()
        until(forked.is_file)
    try:
        with file_lock(tmp_path):
            pass
    finally:
        done.touch()
        other.join()


def until(condition, seconds=60):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(.01)


@pytest.mark.slow
def test_a_terminated_series_terminates_its_children(tmp_path):
    """With real processes: SIGTERM to the series reaches the training."""
    (tmp_path / 'train.py').write_text(
        'import os, time\nprint("pid", os.getpid(), flush=True)\ntime.sleep(600)')
    series = tmp_path / 'series.py'
    series.write_text(f'''
from pathlib import Path
from amt_mm.apis import jobs
jobs.tools_folder = lambda: Path({str(tmp_path)!r})
with jobs.stopping_children():
    jobs.run_tool('train', [], [], Path({str(tmp_path)!r}), show=['pid'])
''')
    with started(series) as process:
        until(lambda: process.stdout.is_file() and process.stdout.read_text().endswith('\n'))
        child = int(process.stdout.read_text().split()[1])
        process.terminate()
        process.join(120)
        assert process.exitcode == 128 + signal.SIGTERM
    for _ in range(1000):
        if not os.path.exists(f'/proc/{child}'):
            break
        time.sleep(.05)
    assert not os.path.exists(f'/proc/{child}')


def series(folder, code):
    """A real process that runs a tool and prints what it is told by one_line_errors."""
    (folder / 'train.py').write_text('import os, signal, sys, time\n' + textwrap.dedent(code))
    return subprocess.Popen([sys.executable, '-c', f'''
from pathlib import Path
from amt_mm.apis import jobs, launch
jobs.tools_folder = lambda: Path({str(folder)!r})
with launch.one_line_errors(launch.GOES_ON), jobs.stopping_children():
    jobs.run_tool('train', [], [], Path({str(folder)!r}), show=['pid'])
'''], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def has_ended(pid):
    """Whether a process runs no more; whoever takes it over may leave its entry for a while."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'
    except FileNotFoundError:
        return True


@pytest.mark.slow
@pytest.mark.parametrize('times', [1, 2])
def test_ctrl_c_waits_for_what_it_started_and_a_second_one_does_not(tmp_path, times):
    told, saved = tmp_path / 'told', tmp_path / 'saved'
    saves = f"""
        def save(*_):
            open({str(told)!r}, 'w').close()
            time.sleep({1 if times == 1 else 500})
            open({str(saved)!r}, 'w').close()
            print('saved, continue with --resume', file=sys.stderr, flush=True)
            sys.exit(75)

        signal.signal(signal.SIGTERM, save)
        print('pid', os.getpid(), flush=True)
        time.sleep(600)"""
    with series(tmp_path, saves) as process:
        child = next(int(line.split()[1]) for line in process.stdout if line.startswith('pid'))
        process.send_signal(signal.SIGINT)
        if times == 2:
            until(told.is_file)
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
            os.kill(child, signal.SIGKILL)  # a terminal would have told it, too
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == -signal.SIGINT
    assert saved.is_file() is (times == 1)
    said = 'interrupted: the same command continues where it stopped'
    assert (errors.splitlines()[-1:] == [said]) is (times == 1)
    # What the tool says at its end is passed on.
    assert ('saved, continue with --resume' in errors) is (times == 1)
    assert 'Traceback' not in errors
    until(lambda: has_ended(child))


@pytest.mark.parametrize(('number', 'end'), [(signal.SIGINT, KeyboardInterrupt),
                                            (signal.SIGTERM, SystemExit)])
def test_a_library_may_make_another_error_of_the_end(number, end, monkeypatch):
    monkeypatch.setattr(jobs, '_stopping', threading.Event())
    with pytest.raises(end), jobs.stopping_children():
        try:
            os.kill(os.getpid(), number)
        except BaseException:
            raise SyntaxError('no config') from None
    with pytest.raises(SyntaxError), jobs.stopping_children():
        raise SyntaxError('of its own')


def test_what_a_tool_says_need_not_be_utf_8(tool, tmp_path, capsys):
    tool('os.write(1, b"Epoch caf\\xe9\\n")')
    run(tmp_path / 'run', show=['Epoch'])
    assert capsys.readouterr().out == 'Epoch caf\\xe9\n'
    assert (tmp_path / 'run/train.log').read_text() == 'Epoch caf\\xe9\n'
