"""Errors have builtin parents, and checks say what was given and what is allowed."""

import inspect

import numpy as np
import pytest

from climb_hf import errors
from climb_hf.check import check_option, check_shape, check_type, nearest
from climb_hf.errors import ClimbError, ConfigNameError, DependencyError, OptionError
from climb_hf.optional import need

CHILDREN = [
    made
    for _, made in inspect.getmembers(errors, inspect.isclass)
    if issubclass(made, ClimbError) and made is not ClimbError
]


@pytest.mark.parametrize("error", CHILDREN, ids=lambda error: error.__name__)
def test_an_error_has_our_root_and_a_builtin_parent(error):
    builtin = [c for c in error.__mro__ if c.__module__ == "builtins"]
    assert issubclass(error, ClimbError)
    assert set(builtin) - {Exception, BaseException, object}


@pytest.mark.parametrize("error", CHILDREN, ids=lambda error: error.__name__)
def test_an_error_is_documented_and_named_as_one(error):
    assert error.__doc__
    assert error.__name__.endswith("Error")


PARENTS = {
    "DataNotFoundError": FileNotFoundError,
    "MissingFileError": FileNotFoundError,
    "CorruptFileError": ValueError,
    "OptionError": ValueError,
    "ConfigNameError": ValueError,
    "CardError": ValueError,
    "DependencyError": ImportError,
    "TooManyBadRecordsError": RuntimeError,
}


@pytest.mark.parametrize(("name", "parent"), PARENTS.items(), ids=PARENTS)
def test_the_builtin_parent_is_the_one_people_catch(name, parent):
    assert issubclass(getattr(errors, name), parent)


def test_check_option_gives_the_value_back():
    assert check_option("x", "b", ("a", "b")) == "b"


def test_check_option_names_option_value_choices_and_nearest():
    with pytest.raises(OptionError) as caught:
        check_option("length", "10sec", ("10s", "raw"))
    assert str(caught.value) == "length='10sec' is not one of: '10s', 'raw'. Did you mean '10s'?"


def test_check_option_raises_the_error_it_is_given():
    with pytest.raises(ConfigNameError):
        check_option("config", "x", ("ecg",), ConfigNameError)


def test_nearest_is_silent_when_nothing_is_near():
    assert nearest("zzz", ("ecg", "ptb_xl")) == ""


def test_check_type_names_the_type_given_and_wanted():
    with pytest.raises(OptionError, match="n='3' is str, but should be int or float"):
        check_type("n", "3", (int, float))


@pytest.mark.parametrize("kind", [int, (int, float)])
def test_a_bool_is_no_number(kind):
    with pytest.raises(OptionError):
        check_type("n", True, kind)


def test_a_bool_passes_where_one_is_wanted():
    assert check_type("n", True, bool) is True


def test_check_shape_takes_any_size_for_none():
    array = np.zeros((12, 7))
    assert check_shape("signal", array, (12, None)) is array


@pytest.mark.parametrize("shape", [(12, 8), (None,), (12, 7, 1)])
def test_check_shape_names_both_shapes(shape):
    with pytest.raises(OptionError, match=r"signal has shape \(12, 7\), but should have \("):
        check_shape("signal", np.zeros((12, 7)), shape)


def test_a_missing_package_comes_with_its_install_line():
    with pytest.raises(DependencyError, match=r"pip install 'climb-hf\[ecg\]'"):
        need("no_such_package_at_all", extra="ecg")
