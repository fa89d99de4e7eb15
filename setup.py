"""Build amt_mm; a wheel carries its configs and tools under ``amt_mm/.mim``, as OpenMMLab's do."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What `amt_mm::path/to/config.py` and mim look for next to the package.
MIM_ENTRIES = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Put configs, tools and the model index under ``.mim``: copies in a wheel, links otherwise.

    An editable install must follow the files of the clone, so there the links
    are made in the source tree, which git ignores.
    """

    def run(self) -> None:
        """Build as usual, then add ``.mim``."""
        super().run()
        package = ROOT / 'amt_mm' if self.editable_mode else Path(self.build_lib, 'amt_mm')
        mim = package / '.mim'
        # A leftover of an earlier build would carry configs that are gone.
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in MIM_ENTRIES:
            if self.editable_mode:
                (mim / name).symlink_to(Path('..', '..', name))
            elif (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, mim / name,
                                ignore=shutil.ignore_patterns('__pycache__', '*.py[cod]'))
            else:
                shutil.copy2(ROOT / name, mim / name)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name the files under ``.mim`` too, so that an uninstall removes them."""
        mim = Path(self.build_lib, 'amt_mm', '.mim')
        return [*super().get_outputs(include_bytecode),
                *(str(path) for path in mim.rglob('*') if path.is_file())]


def read_version() -> str:
    """Read the version without importing the package, which would need torch."""
    text = (ROOT / 'amt_mm' / 'version.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE).group(1)


def read_requirements(name: str) -> list[str]:
    """Requirement lines of ``requirements/<name>.txt``, without comments."""
    text = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8')
    return [line for line in map(str.strip, text.splitlines()) if line and line[0] != '#']


readme = ROOT / 'README.md'

setup(
    name='amt_mm',
    version=read_version(),
    description="Masked image modelling guided by the model's own attention, on OpenMMLab",
    long_description=readme.read_text(encoding='utf-8') if os.path.exists(readme) else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='masked image modelling, self-supervised learning, MAE, attention, OpenMMLab',
    packages=find_packages(include=['amt_mm', 'amt_mm.*']),
    python_requires='>=3.10,<3.14',
    install_requires=read_requirements('runtime') + read_requirements('mminstall'),
    entry_points={'console_scripts': ['amt = amt_mm.cli.main:main']},
    extras_require={name: read_requirements(name) for name in ('images', 'tests')},
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
