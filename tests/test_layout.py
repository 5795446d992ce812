"""The layout: what library code must not do, and that lists kept by hand equal the tree."""

import ast
import configparser
import importlib.metadata
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
LIBRARY = ("climb_hf", "builders", "trainers")
MODULES = sorted(p for name in LIBRARY for p in (REPOSITORY / name).rglob("*.py"))
# Commands that talk to a terminal; everything else logs.
TALKERS = "climb_hf/cli/"
HEAVY = {"torch", "transformers", "trl", "datasets"}


def name_of(path):
    return path.relative_to(REPOSITORY).as_posix()


def syntax(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.fixture(params=MODULES, ids=name_of)
def module(request):
    return request.param


def test_no_print(module):
    if name_of(module).startswith(TALKERS):
        pytest.skip("talks to a terminal")
    calls = [node for node in ast.walk(syntax(module)) if isinstance(node, ast.Call)]
    lines = [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert lines == []


def caught(handler):
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {getattr(kind, "id", None) for kind in kinds}


def test_no_blanket_except(module):
    handlers = [node for node in ast.walk(syntax(module)) if isinstance(node, ast.ExceptHandler)]
    wide = {None, "Exception", "BaseException"}
    lines = [
        h.lineno
        for h in handlers
        if (h.type is None or caught(h) & wide - {None})
        and not any(isinstance(node, ast.Raise) for node in ast.walk(h))
    ]
    assert lines == []


def test_no_assert(module):
    lines = [node.lineno for node in ast.walk(syntax(module)) if isinstance(node, ast.Assert)]
    assert lines == []


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def test_nobody_imports_the_folders_by_their_own_names(module):
    tops = {name.split(".")[0] for name in imported(syntax(module))}
    assert not tops & {"builders", "tests"}
    # Entry scripts put their own folder first on the path; they too go by climb_hf.trainers.
    assert "trainers" not in tops


def at_top(tree):
    """Imports that run when the module is imported, type checking left out."""
    body = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    return {name.split(".")[0] for name in imported(ast.Module(body, []))}


@pytest.mark.parametrize("path", sorted((REPOSITORY / "builders").glob("*.py")), ids=name_of)
def test_a_source_imports_nothing_heavy(path):
    assert not set(name.split(".")[0] for name in imported(syntax(path))) & HEAVY


@pytest.mark.parametrize("path", sorted((REPOSITORY / "builders").glob("*.py")), ids=name_of)
def test_a_source_imports_no_other_source(path):
    assert not [name for name in imported(syntax(path)) if name.startswith("climb_hf.builders")]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "tests/fake").glob("*.py")), ids=name_of)
def test_a_made_tree_is_written_without_our_readers(path):
    assert "climb_hf" not in {name.split(".")[0] for name in imported(syntax(path))}
    assert "builders" not in {name.split(".")[0] for name in imported(syntax(path))}


LIGHT = {
    "climb_hf.catalog": HEAVY | {"numpy", "pandas", "PIL", "scipy", "sklearn", "wfdb"},
    "climb_hf.trainers.drpo_scaling": HEAVY,
    "climb_hf.metrics.answers": HEAVY,
    "climb_hf.schema": HEAVY,
}


@pytest.mark.parametrize(("name", "heavy"), LIGHT.items(), ids=LIGHT)
def test_importing_it_loads_nothing_heavy(name, heavy):
    code = f"import sys, {name} as it; getattr(it, 'sources', dict)(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.home()
    )
    assert not set(done.stdout.split()) & heavy


@pytest.mark.parametrize(
    "name", ["card", "check", "errors", "schema", "splits", "catalog", "people"]
)
def test_the_frame_imports_the_standard_library_only(name):
    tops = at_top(syntax(REPOSITORY / "climb_hf" / f"{name}.py"))
    assert tops <= set(sys.stdlib_module_names) | {"climb_hf"}


def test_only_registration_touches_the_private_place_of_datasets():
    users = [p.name for p in MODULES if "dataset_module_factory" in p.read_text("utf-8")]
    assert users == ["registration.py"]


def test_every_module_has_a_docstring(module):
    assert ast.get_docstring(syntax(module))


def test_no_module_is_longer_than_500_lines(module):
    assert len(module.read_text(encoding="utf-8").splitlines()) <= 500


def test_no_trainer_module_hides_an_installed_package():
    own = {path.stem for path in (REPOSITORY / "trainers").glob("*.py")} - {"__init__"}
    installed = set(importlib.metadata.packages_distributions()) | set(sys.stdlib_module_names)
    assert not own & installed


def config():
    parser = configparser.ConfigParser()
    parser.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    return parser


def test_the_packages_of_setup_cfg_are_those_of_the_tree():
    tree = {path.parent.relative_to(REPOSITORY).as_posix() for path in MODULES}
    named = {
        name if name.startswith("climb_hf") else f"climb_hf/{name}"
        for name in tree
        if (REPOSITORY / name / "__init__.py").exists()
    }
    assert set(config()["options"]["packages"].split()) == {n.replace("/", ".") for n in named}


@pytest.mark.parametrize("folder", ["builders", "trainers"])
def test_mapped_folders_hold_no_packages(folder):
    assert not list((REPOSITORY / folder).glob("*/**/__init__.py"))


def needed(path):
    """(package, extra) of each call of `need` in a module."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "need":
            (extra,) = (word.value.value for word in node.keywords if word.arg == "extra")
            yield node.args[0].value.split(".")[0], extra


def test_every_optional_package_is_in_the_extra_that_its_message_names():
    extras = config()["options.extras_require"]
    places = importlib.metadata.packages_distributions()
    asked = {pair for path in MODULES for pair in needed(path)}
    assert asked
    for package, extra in asked:
        names = {re.split(r"[<>=!]", line)[0].strip() for line in extras[extra].splitlines()}
        assert names & {package, *places.get(package, ())}, (package, extra)


def test_the_package_data_is_in_the_tree():
    for package, patterns in config()["options.package_data"].items():
        folder = package.replace("climb_hf.trainers", "trainers").replace(".", "/")
        for pattern in patterns.split(", "):
            assert list((REPOSITORY / folder).glob(pattern)), (package, pattern)


# --- sources ---------------------------------------------------------------------------------

SOURCES = [path for path in sorted((REPOSITORY / "builders").glob("*.py")) if path.name[:1] != "_"]
RUN = 5  # equal lines in a row that count as repeated
WORDS = [
    *sorted((REPOSITORY / "climb_hf").rglob("*.py")),
    *sorted((REPOSITORY / "climb_hf" / "templates").glob("*.md")),
]


@pytest.mark.parametrize("path", WORDS, ids=name_of)
def test_the_frame_names_no_source(path):
    ids = re.compile(rf"(?<![\w-])({'|'.join(source.stem for source in SOURCES)})(?![\w-])")
    # An address of a manual may have a word of them in it.
    text = re.sub(r"https?://\S+", "", path.read_text(encoding="utf-8"))
    lines = enumerate(text.splitlines(), start=1)
    found = [f"{n}: {line.strip()}" for n, line in lines if ids.search(line)]
    assert found == []


def length(path):
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_source_is_at_most_150_lines(path):
    assert length(path) <= 150


def test_the_median_source_is_at_most_100_lines():
    assert statistics.median(map(length, SOURCES)) <= 100


def code_lines(path):
    """Lines of a source without imports, comments and blanks."""
    nodes = ast.walk(syntax(path))
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    left_out = {n for node in imports for n in range(node.lineno, node.end_lineno + 1)}
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    kept = [line.strip() for n, line in lines if n not in left_out]
    return [line for line in kept if line and not line.startswith("#")]


def runs(lines):
    return [tuple(lines[i : i + RUN]) for i in range(len(lines) - RUN + 1)]


def repeated(own, others):
    """How many of a file's lines stand in a run that another file has too."""
    theirs = {run for lines in others for run in runs(lines)}
    places = [i for i, run in enumerate(runs(own)) if run in theirs]
    return len({i + step for i in places for step in range(RUN)})


def test_sources_repeat_under_5_percent_of_each_other():
    code = {path: code_lines(path) for path in SOURCES}
    n_repeated = sum(
        repeated(own, [lines for other, lines in code.items() if other != path])
        for path, own in code.items()
    )
    assert n_repeated < 0.05 * sum(map(len, code.values()))


def test_repeated_lines_are_counted():
    assert repeated([*"abcdefg"], [[*"xbcdefx"]]) == 5
    assert repeated([*"abcdefg"], [[*"abcdxefg"]]) == 0


# --- files under version control -------------------------------------------------------------

PRIVATE = re.compile(r"(?<![\w.~<>}-])/(home|root|work|mnt|Users)/\w")


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("no git checkout")
    kinds = {".py", ".md", ".cfg", ".yaml", ".yml", ".toml", ".cff"}
    names = (REPOSITORY / line for line in listed.stdout.splitlines())
    return [path for path in names if path.suffix in kinds and path.is_file()]


def test_no_absolute_path_of_a_machine():
    found = [
        f"{name_of(path)}:{number}"
        for path in tracked()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if PRIVATE.search(line)
    ]
    assert found == []


# --- documentation ---------------------------------------------------------------------------


def test_every_stored_column_is_documented():
    from climb_hf.schema import COLUMNS_MEANING, disk_features

    assert list(COLUMNS_MEANING) == list(disk_features())
    assert len(COLUMNS_MEANING) == 40


def test_every_modality_has_its_media_columns():
    from climb_hf.card import Modality
    from climb_hf.schema import COLUMNS_MEANING, MEDIA_OF

    assert set(MEDIA_OF) == set(Modality)
    assert {name for names in MEDIA_OF.values() for name in names} <= set(COLUMNS_MEANING)


def test_flags_are_documented_once():
    from climb_hf.schema import FLAGS

    assert len(set(FLAGS)) == len(FLAGS)


def test_the_readme_has_the_table_that_the_cards_give(capsys):
    from climb_hf import cli

    assert cli.main(["card", "--readme", str(REPOSITORY / "README.md"), "--check"]) == 0


def test_the_readme_is_short_even_once_every_source_is_in_its_table():
    from climb_hf.describe import N_CLIMB

    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert len(lines) - len(rows) + N_CLIMB <= 150


def test_the_command_line_lists_its_verbs():
    from climb_hf import cli

    verbs = re.findall(r"^  (?:  )?(\w+)  ", cli.make_parser().format_help(), flags=re.M)
    named = cli.__doc__.splitlines()[0].split("`")[1].removeprefix("climb-hf ").split(" | ")
    assert verbs == named


def test_every_environment_variable_of_ours_is_told_by_env():
    from climb_hf.cli import env

    texts = {p: p.read_text("utf-8") for p in MODULES if p.name != "env.py"}
    read = {name for text in texts.values() for name in re.findall(r'"(CLIMB_[A-Z_]+)"', text)}
    assert read == set(env.VARIABLES)


def rooms():
    return sorted(config()["importlinter:contract:rooms"]["layers"].replace("|", " ").split())


def test_every_module_has_its_room_in_setup_cfg():
    inside = (REPOSITORY / "climb_hf").glob("[!_]*")
    modules = {
        path.stem for path in inside if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms() == sorted({*modules, "_version", "builders", "trainers"})


def test_contributing_names_every_room():
    table = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)/?`", "".join(rows))) == rooms()
