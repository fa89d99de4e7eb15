"""read_config_text: reads what MMEngine writes, and runs nothing."""

import ast
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from mmengine.config import Config

from amt_mm.checkpoints.config_text import read_config_text
from amt_mm.shipped import configs_folder


@pytest.mark.parametrize('name', [
    'mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py',
    'clothing/mae_vit-mini-p8_1xb128-coslr-30e_clothing.py',
    'benchmarks/finetune/vit-base-p16_8xb128-coslr-100e_in1k.py'])
def test_every_config_is_restored(name):
    cfg = Config.fromfile(configs_folder() / name)
    assert read_config_text(cfg.pretty_text) == cfg.to_dict()


def test_threads_take_turns(monkeypatch):
    parse, parsing, most = ast.parse, [], []

    def slowly(text):
        parsing.append(text)
        most.append(len(parsing))
        time.sleep(0.01)
        parsing.remove(text)
        return parse(text)
    monkeypatch.setattr(ast, 'parse', slowly)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read_config_text, [f'a = {i}' for i in range(4)])) == [
            {'a': i} for i in range(4)]
    assert max(most) == 1


def test_non_literals_are_dropped_and_not_run(tmp_path):
    trace = tmp_path / 'trace'
    text = f"""
a = dict(x=-1.5, y=[1, (2, None)], z={{'k': True}})
b = open({str(trace)!r}, 'w')
c = dict(x=__import__('os').getcwd())
d = dict([('x', 1)])
"""
    assert read_config_text(text) == {'a': dict(x=-1.5, y=[1, (2, None)], z={'k': True})}
    assert not trace.exists()


@pytest.mark.parametrize('key', [
    "a': __import__('os').getcwd(), 'b", 'a"', 'a\\', 'a b', 'a\nb', 3, None, ('a', )])
def test_keys_that_would_be_code_in_a_config_are_dropped(key):
    """MMEngine writes keys between quotes as they are."""
    text = f'x = {{{key!r}: 1}}\ny = dict({{{key!r}: 1}})\nz = {{".a-b/c": 1}}'
    assert read_config_text(text) == {'z': {'.a-b/c': 1}}


def test_what_is_read_can_be_written_and_read_again():
    text = 'x = dict({"custom_keys": {".ln1": dict(a="it\'s \\ \\n \\x00")}})\ny = {**{"a": 1}}'
    found = read_config_text(text)
    assert found == {'x': {'custom_keys': {'.ln1': {'a': "it's \\ \n \x00"}}}}
    assert read_config_text(Config(found).pretty_text) == found


@pytest.mark.parametrize('text', ['a = dict(**{"x": 1})', 'a = ' + '-' * 5000 + '1',
                                  'a = ' + '[' * 500 + ']' * 500, 'a = {[]: 1}'])
def test_settings_that_python_would_stumble_over_are_dropped(text):
    assert read_config_text(text) == {}


@pytest.mark.parametrize('text', [None, 3, b'a = 1', 'a = = 1', 'a = 1\0', ''])
def test_other_content_has_no_settings(text):
    assert read_config_text(text) == {}
