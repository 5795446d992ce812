"""Our models and the Auto classes: known without being imported, and only where that is wanted."""

import os
import subprocess
import sys

import pytest

from climb_hf import imports

KNOWN = """
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
print("climb_series_lm" in CONFIG_MAPPING)
"""


def run(code, **env):
    ran = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def test_importing_climb_hf_imports_neither_transformers_nor_torch():
    loaded = run("import sys, climb_hf\nprint(*{'torch', 'transformers'} & set(sys.modules))")
    assert loaded == []


@pytest.mark.parametrize(
    "code",
    [
        "from transformers import AutoConfig\nimport climb_hf",
        "import climb_hf.models.series_config",
    ],
)
def test_whatever_is_imported_first_they_are_known(code):
    assert run(code + KNOWN) == ["True"]


def test_the_settings_are_known_before_any_model_is_imported():
    code = "import sys, climb_hf\nfrom transformers import AutoModel"
    heavy = "\nprint('climb_hf.models.series_lm' in sys.modules)"
    assert run(code + KNOWN + heavy) == ["True", "False"]


def test_the_switch_leaves_the_auto_classes_alone():
    code = "import climb_hf\nfrom transformers import AutoModel"
    assert run(code + KNOWN, CLIMB_HF_NO_HOOK="1") == ["False"]


# ---- waiting for an import ----------------------------------------------------------------------


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that nobody has imported."""
    (tmp_path / "climb_made_module.py").write_text("VALUE = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "climb_made_module"
    sys.modules.pop("climb_made_module", None)


def test_actions_run_once_after_the_import_in_order(module):
    seen = []
    imports.when_imported(module, lambda one: seen.append(("first", one.VALUE)))
    imports.when_imported(module, lambda one: seen.append(("second", one.VALUE)))
    assert seen == []
    loaded = __import__(module)
    assert seen == [("first", 7), ("second", 7)]
    assert type(loaded.__loader__).__name__ == "SourceFileLoader"
    del sys.modules[module]
    __import__(module)
    assert len(seen) == 2


def test_a_module_that_is_loaded_is_acted_on_at_once(module):
    __import__(module)
    seen = []
    imports.when_imported(module, seen.append)
    assert seen == [sys.modules[module]]


def test_an_action_can_be_taken_back(module):
    seen = []
    imports.when_imported(module, seen.append)
    imports.forget(module, seen.append)
    __import__(module)
    assert seen == []
    assert module not in imports._waiter.waiting
