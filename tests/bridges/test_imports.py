"""What is loaded when, and what is said where a library is missing."""

import subprocess
import sys
import textwrap

import pytest


def python(code):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("library", ["opacus", "diffprivlib"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(library):
    done = python(
        f"""
        import sys
        sys.modules[{library!r}] = None
        import dpsynth.bridges.{library}
        """
    )
    assert f"ImportError: dpsynth.bridges.{library} needs" in done.stderr
    assert f"pip install 'dpsynth[{library}]'" in done.stderr


def test_a_scikit_learn_that_diffprivlib_cannot_use_is_named():
    pytest.importorskip("diffprivlib")
    done = python(
        """
        import importlib.metadata as metadata
        real = metadata.version
        metadata.version = lambda name: "1.8.0" if name == "scikit-learn" else real(name)
        import dpsynth.bridges.diffprivlib
        """
    )
    assert "does not work with scikit-learn 1.8 and newer, this is 1.8.0" in done.stderr


def test_nothing_loads_the_libraries_but_the_bridges():
    done = python(
        """
        import sys
        import accountants, dpsynth, dpsynth.bridges, dpsynth.cli, dpsynth.session
        print(sorted({"torch", "opacus", "diffprivlib", "sklearn"} & set(sys.modules)))
        """
    )
    assert done.stdout.strip() == "[]", done.stderr
