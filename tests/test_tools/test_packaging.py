"""What a wheel and an editable install carry, and that ``amt_mm::`` resolves in both."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from amt_mm import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ['amt_mm', 'configs', 'tools', 'requirements', 'setup.py', 'pyproject.toml',
           'MANIFEST.in', 'LICENSE', 'CITATION.cff', 'model-index.yml']


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    """A copy of the sources, so that building leaves nothing in the repository."""
    folder = tmp_path_factory.mktemp('clone')
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name,
                            ignore=shutil.ignore_patterns('.mim', '__pycache__'))
        else:
            shutil.copy(source, folder / name)
    probe = folder / 'configs' / 'probe'
    probe.mkdir()
    (probe / 'probe.py').write_text("answer = 42\n_ignored = 'x'\n")
    (probe / '__pycache__').mkdir()
    (probe / '__pycache__' / 'probe.pyc').write_bytes(b'')
    return folder


def build(clone, hook, folder):
    """Build by the project's own backend, as pip does without isolation."""
    folder.mkdir()
    subprocess.run([sys.executable, '-c', 'import sys; from setuptools import build_meta; '
                    f'build_meta.{hook}(sys.argv[1])', str(folder)],
                   cwd=clone, check=True, capture_output=True, text=True)
    return next(folder.iterdir())


def install(built, folder):
    subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index',
                    '--disable-pip-version-check', '--target', str(folder), str(built)],
                   check=True, capture_output=True, text=True)
    return folder


def resolve(target, folder):
    """Where amt_mm lies and what an ``amt_mm::`` base gives, in a process of its own.

    ``-S`` leaves out an amt_mm that is installed in this environment; its
    other packages are put back behind ``target``.
    """
    config = folder / 'user.py'
    config.write_text("_base_ = 'amt_mm::probe/probe.py'\nmine = 1\n")
    code = ('import site, sys\n'
            f'site.addsitedir({str(target)!r})\n'
            f'sys.path.append({sysconfig.get_paths()["purelib"]!r})\n'
            'import amt_mm.registry\n'
            'from mmengine.config import Config\n'
            'from mmengine.hub import get_config\n'
            f'cfg = Config.fromfile({str(config)!r})\n'
            "hub = get_config('amt_mm::probe/probe.py')\n"
            'print(amt_mm.__file__, cfg.answer + cfg.mine, hub.answer, sep="|")\n')
    result = subprocess.run([sys.executable, '-S', '-c', code], cwd=folder, capture_output=True,
                            text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1].split('|')


@pytest.fixture(scope='module')
def wheel(clone, tmp_path_factory):
    return build(clone, 'build_wheel', tmp_path_factory.mktemp('wheel') / 'dist')


def test_wheel_carries_package_configs_and_tools(clone, wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for part in ('configs', 'tools'):
        expected = {f'amt_mm/.mim/{path.relative_to(clone)}' for path in (clone / part).rglob('*')
                    if path.is_file() and '__pycache__' not in path.parts}
        assert expected
        assert expected == {name for name in names if name.startswith(f'amt_mm/.mim/{part}/')}
    modules = {str(path.relative_to(clone)) for path in (clone / 'amt_mm').rglob('*.py')
               if '.mim' not in path.parts}
    assert modules == {name for name in names
                       if name.endswith('.py') and not name.startswith('amt_mm/.mim/')}
    assert 'amt_mm/.mim/model-index.yml' in names
    assert any(name.endswith('LICENSE') for name in names)
    tops = {name.split('/')[0] for name in names}
    assert tops == {'amt_mm', f'amt_mm-{__version__}.dist-info'}


def test_wheel_metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith('METADATA'))
    metadata = HeaderParser().parsestr(archive.read(name).decode())
    assert metadata['Version'] == __version__
    assert 'Apache-2.0' in (metadata['License-Expression'] or metadata['License'])
    supported = SpecifierSet(metadata['Requires-Python'])
    assert [f'3.{minor}' for minor in range(8, 15) if f'3.{minor}.7' in supported] == [
        '3.10', '3.11', '3.12', '3.13']
    needs = [Requirement(line) for line in metadata.get_all('Requires-Dist')]
    always = {need.name for need in needs if need.marker is None}
    assert {'torch', 'torchvision', 'numpy', 'tqdm', 'tensorboard', 'onedl-mmengine',
            'onedl-mmcv', 'onedl-mmpretrain'} <= always
    assert not {'pytest', 'ruff', 'hypothesis'} & always


@pytest.mark.slow
def test_the_wheel_has_the_command_amt(wheel):
    archive = zipfile.ZipFile(wheel)
    file, = (name for name in archive.namelist() if name.endswith('/entry_points.txt'))
    assert archive.read(file).decode().split() == [
        '[console_scripts]', 'amt', '=', 'amt_mm.cli.main:main']


@pytest.mark.slow
def test_amt_mm_paths_resolve_from_a_wheel(wheel, tmp_path):
    target = install(wheel, tmp_path / 'site')
    file, merged, direct = resolve(target, tmp_path)
    assert file == str(target / 'amt_mm' / '__init__.py')
    assert (merged, direct) == ('43', '42')


@pytest.mark.slow
def test_amt_mm_paths_resolve_from_an_editable_install(clone, tmp_path):
    target = install(build(clone, 'build_editable', tmp_path / 'dist'), tmp_path / 'site')
    assert (clone / 'amt_mm/.mim/configs').is_symlink()
    file, merged, direct = resolve(target, tmp_path)
    assert file == str(clone / 'amt_mm' / '__init__.py')
    assert (merged, direct) == ('43', '42')
    # The links of an editable install must not end up in a wheel, nor break a second install.
    build(clone, 'build_editable', tmp_path / 'dist2')
    names = zipfile.ZipFile(build(clone, 'build_wheel', tmp_path / 'dist3')).namelist()
    assert names.count('amt_mm/.mim/configs/probe/probe.py') == 1
    assert (clone / 'amt_mm/.mim/tools').is_symlink()


@pytest.mark.slow
def test_a_deleted_config_leaves_the_next_wheel(clone, wheel, tmp_path):
    extra = clone / 'configs' / 'probe' / 'gone.py'
    extra.write_text('')
    build(clone, 'build_wheel', tmp_path / 'with')
    extra.unlink()
    names = zipfile.ZipFile(build(clone, 'build_wheel', tmp_path / 'without')).namelist()
    assert not any(name.endswith('gone.py') for name in names)


# --- files that other programs read ------------------------------------------------------------


def requirements(name):
    lines = (REPOSITORY / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


@pytest.mark.parametrize('python', ['3.10', '3.11', '3.12', '3.13'])
def test_constraints_pin_each_requirement_once_within_its_range(python):
    environment = {'python_version': python}
    pins = [pin for pin in requirements('constraints')
            if pin.marker is None or pin.marker.evaluate(environment)]
    versions = {pin.name.lower(): re.fullmatch('==(.+)', str(pin.specifier)).group(1)
                for pin in pins}
    assert len(versions) == len(pins)
    for name in ('runtime', 'mminstall', 'detection', 'tests'):
        for need in requirements(name):
            assert versions[need.name.lower()] in need.specifier, need


def test_citation_names_this_version():
    assert yaml.safe_load((REPOSITORY / 'CITATION.cff').read_text())['version'] == __version__


def test_model_index_lists_metafiles_that_exist():
    index = yaml.safe_load((REPOSITORY / 'model-index.yml').read_text())
    for metafile in index['Import']:
        models = yaml.safe_load((REPOSITORY / metafile).read_text())['Models']
        for model in models:
            assert (REPOSITORY / model['Config']).is_file(), model


def make(arguments, cwd, check=False, **variables):
    """Run make as from a shell: what `make test` hands down is not for this one."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('MAKEFLAGS', 'MFLAGS', 'MAKEOVERRIDES', 'MAKELEVEL')}
    return subprocess.run(['make', *arguments], cwd=cwd, env={**environment, **variables},
                          check=check, capture_output=True, text=True)


def test_make_alone_lists_its_targets():
    output = make([], cwd=REPOSITORY, check=True).stdout
    for target in ('install', 'install-detection', 'quickstart', 'race', 'test', 'test-all',
                   'lint', 'docs', 'wheel', 'clean'):
        assert f'make {target} ' in output


def test_make_refuses_another_python(tmp_path):
    shutil.copy(REPOSITORY / 'Makefile', tmp_path)
    for name in ('requirements/runtime.txt', 'requirements/mminstall.txt',
                 'requirements/constraints.txt', 'requirements/detection.txt',
                 'requirements/tests.txt', 'requirements/docs.txt', 'lab/race/requirements.txt',
                 'setup.py'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('')
    old = tmp_path / 'oldpython'
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c '
                   '"import sys; sys.version_info = (3, 9, 1); exec(sys.argv[1])" "$2"\n')
    old.chmod(0o755)
    result = make(['install', f'PYTHON={old}'], cwd=tmp_path)
    assert result.returncode != 0
    assert result.stderr.startswith(f'error: {old} is Python 3.9, but amt_mm needs one of 3.10')
    assert not (tmp_path / '.venv').exists()


@pytest.mark.parametrize('folder', ["it's mine", 'a "b" $HOME `x`', ''])
def test_make_quickstart_passes_the_folder_as_it_is(folder):
    # Nothing is installed, and the tool is only printed, an argument a line.
    done = make(['quickstart', 'INSTALLED=', r"PY=printf '%s\n'", 'ARGS=--minutes 3'],
                cwd=REPOSITORY, DATA=folder, check=True)
    assert done.stdout.splitlines() == [
        'tools/quickstart.py', *(['--data', folder] if folder else []),
        '--out', 'work_dirs/quickstart', '--minutes', '3']
