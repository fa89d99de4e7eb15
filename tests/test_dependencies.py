"""A missing package is named with the command that installs it."""

import pytest

from amt_mm.dependencies import check_dependencies, quiet_imports


def test_missing_packages_are_named_with_the_command():
    with pytest.raises(ImportError, match='no-such-dist, other-dist.*make install') as error:
        check_dependencies({'no_such_module': 'no-such-dist', 'torch': 'torch',
                            'neither_this': 'other-dist'})
    assert '\n' not in str(error.value) and 'torch,' not in str(error.value)


def test_what_is_installed_passes():
    check_dependencies()


def test_notices_on_optional_data_sets_are_left_out_and_nothing_else(capsys):
    with pytest.raises(ImportError), quiet_imports():
        print('Could not import OneDL\na line of use')
        print('Could not import OneDL. Skipping OneDL datasets.')
        raise ImportError
    print('Could not import OneDL')
    assert capsys.readouterr().out == 'a line of use\nCould not import OneDL\n'
