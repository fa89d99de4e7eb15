"""Values of --cfg-options: paths arrive as given, all else as MMEngine reads it."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config, DictAction

from amt_mm.cli.arguments import CfgOptions
from amt_mm.cli.option_values import read_value


@pytest.mark.parametrize('text', [
    '/data/my photos', '/data/a,b', '/data/Tom, Ann and I', "/data/it's here", '/data/"new" ones',
    '/data/x=1/y=2', ' leading and trailing ', 'a,b', '/data/(1)', '/data/[old] 2', '[old] photos',
    '(1) and (2)', '2024_01', "'a' or 'b'", 'C:\\x', '1,b', '1,(2', '~/x;y', '', '/data/{a}', ','])
def test_text_arrives_as_given(text):
    assert read_value(text) == text
    # And through a file, as a run's settings reach the process that trains.
    cfg = Config(dict(train=dict(data_root='')))
    cfg.merge_from_dict({'train.data_root': read_value(text)})
    assert Config.fromstring(cfg.pretty_text, '.py').train.data_root == text


@pytest.mark.parametrize('text', [
    '5', '-3', '1e-3', '.5', '+7', 'inf', '0.1,2', '1,2,3', '[1,2]', '(1,2)', '[.5,7]', '[]', '()',
    'true', 'False', 'None', '[(1, 2), [a, b], c]', '[a,b]', "['a','b']", '[1]', 'True,1', '[[1]]',
    'deit-small', 'amt_mm.BF16OptimWrapper', '[None,true,x]'])
def test_what_is_no_path_is_read_as_mmengine_reads_it(text):
    value = read_value(text)
    assert value == DictAction._parse_iterable(text)
    assert type(value) is type(DictAction._parse_iterable(text))


@pytest.mark.parametrize(('text', 'value'), [
    ("'2024'", '2024'), ('"1,2"', '1,2'), ("''", ''), ("'[1]'", '[1]'), ("'None'", 'None'),
    ('[/data/my photos, /data/x]', ['/data/my photos', '/data/x']),
    ("['a, b', 1]", ['a, b', 1]), ("[O'Brien, 'x']", ["O'Brien", 'x']),
    ('["[", b]', ['[', 'b']), ('[a=1,b]', ['a=1', 'b']), ('[1,2,]', [1, 2])])
def test_quotes_and_lists(text, value):
    assert read_value(text) == value


@given(st.text(st.characters(exclude_characters='[]()\'"'), max_size=12).map('/data/{}'.format))
def test_any_path_arrives_as_given(path):
    assert read_value(path) == path
    assert read_value(f'"{path}"') == path
    assert read_value(f"['{path}', 1]") == [path, 1]


@pytest.mark.parametrize('pair', ['depth', 'depth=[1,2', 'depth=[[1,2]', 'depth=(1,[2)', '=3'])
def test_a_malformed_pair_is_a_usage_error(pair, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(['--cfg-options', 'x=1', pair])
    assert stop.value.code == 2
    assert f'expected KEY=VALUE with balanced brackets, got {pair!r}' in capsys.readouterr().err


def test_pairs_add_up():
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', default={}, action=CfgOptions)
    given_twice = ['--cfg-options', 'a=1', 'b.c=x=y', '--cfg-options', 'a=2']
    assert parser.parse_args(given_twice).cfg_options == {'a': 2, 'b.c': 'x=y'}
    assert parser.parse_args([]).cfg_options == {}
