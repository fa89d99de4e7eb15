"""A script as a module, for tests that call its functions."""

import importlib.util


def load_script(path):
    """Run a file that is in no package and give its names; anew at each call."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
