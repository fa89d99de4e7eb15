"""claims: a folder serves one config, whose text says what it is."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from mmengine.config import Config

from amt_mm.apis.claims import claim
from amt_mm.errors import InputError


def test_checkpoints_of_unknown_settings_are_no_begun_run(tmp_path):
    (tmp_path / 'epoch_3.pth').write_bytes(b'another run')
    with pytest.raises(InputError, match='holds checkpoints, but not the settings'):
        claim(tmp_path, Config(dict(a=1)))
    assert not (tmp_path / 'settings/config.py').exists()


def test_a_folder_serves_one_config(tmp_path):
    file = claim(tmp_path / 'run', Config(dict(lr=1)))
    assert Config.fromfile(file).lr == 1
    assert claim(tmp_path / 'run', Config(dict(lr=1))) == file
    with pytest.raises(InputError, match='run of other settings'):
        claim(tmp_path / 'run', Config(dict(lr=2)))


@pytest.mark.parametrize('settings', [
    dict(model={"a': exit(), 'b": 1}),
    # MMEngine's substitution takes a backslash away, which ends the first text at the second's
    # beginning.
    dict(model=dict(a='{{$NOT_SET:.*\\}}', b=', c=exit()) #')),
])
def test_a_config_whose_text_says_something_else_is_not_written(tmp_path, settings):
    """The texts of these, executed as configs, would call exit()."""
    cfg = Config(settings)
    file = tmp_path / 'attack.py'
    file.write_text(cfg.pretty_text)
    with pytest.raises(SystemExit):
        Config.fromfile(file)
    with pytest.raises(InputError, match='holds more than constants'):
        claim(tmp_path / 'run', cfg)
    assert not (tmp_path / 'run').exists()


def test_commands_that_start_at_once_share_a_folder_if_their_config_is_the_same(tmp_path):
    for number in range(5):
        folder = tmp_path / str(number)
        with ThreadPoolExecutor(8) as pool:
            waiting = threading.Barrier(8)

            def start(rate, folder=folder, waiting=waiting):
                waiting.wait()
                return claim(folder, Config(dict(lr=rate)))

            one, other = ([pool.submit(start, rate) for _ in range(4)] for rate in (1, 2))
        failed = [[future.exception() for future in futures] for futures in (one, other)]
        failed.sort(key=any)
        assert failed[0] == [None] * 4
        assert all('run of other settings' in str(error) for error in failed[1])
