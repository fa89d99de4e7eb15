"""Versions in range, out of it, missing, and other than the tested ones."""

import platform
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest

from amt_mm.apis.doctor.versions import look_at_versions

NEEDS = ['torch<3,>=2.6', 'numpy>=1.26', 'pytest; extra == "tests"']


@pytest.fixture
def looked(tmp_path):
    """What is said of installed versions."""

    def look(python='>=3.10', needs=NEEDS, pins='# tested\ntorch==2.13.0\nnumpy==2.4.6\n', **found):
        def find(name):
            if name == 'amt_mm':
                return SimpleNamespace(metadata={'Requires-Python': python}, requires=needs)
            if name not in found:
                raise PackageNotFoundError(name)
            return SimpleNamespace(version=found[name])

        (tmp_path / 'pins.txt').write_text(pins)
        return [str(each) for each in look_at_versions(tmp_path / 'pins.txt', find)]

    return look


def test_as_tested(looked):
    python, packages = looked(torch='2.13.0+cpu', numpy='2.4.6')
    assert python == f'ok       Python {platform.python_version()}'
    assert packages == 'ok       as tested: torch 2.13.0+cpu, numpy 2.4.6'


def test_another_version_in_its_range(looked):
    _, there, others = looked(torch='2.13.0', numpy='2.5.0')
    assert there == 'ok       as tested: torch 2.13.0'
    assert others.startswith('ok ') and others.endswith('numpy 2.5.0 (2.4.6)')
    # A wheel has no pins.
    assert looked(torch='2.13.0', numpy='2.5.0', pins='')[1:] == [
        'ok       torch 2.13.0, numpy 2.5.0']


def test_out_of_range_and_missing(looked):
    _, old, missing = looked(torch='2.5.1')
    assert old.startswith('problem  torch 2.5.1, but amt_mm needs <3,>=2.6: run `make install`')
    assert missing.startswith('problem  numpy is not installed: run `make install`')


def test_another_python(looked):
    assert looked('>=4')[0].startswith(
        f'problem  Python {platform.python_version()}, but amt_mm needs >=4: make .venv anew')


def test_nothing_installed():
    def find(name):
        raise PackageNotFoundError(name)

    line, = look_at_versions(find=find)
    assert line.state == 'warning' and 'amt_mm is not installed' in line.text


def test_this_environment():
    assert {each.state for each in look_at_versions()} == {'ok'}
