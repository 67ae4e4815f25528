"""What daxemu raises."""

import errno
import inspect
import os
import pickle

import pytest

import daxemu
from daxemu import DaxBusError, DaxemuError, KernelError, UsageError, errors

CLASSES = [thing for thing in vars(errors).values() if inspect.isclass(thing) and issubclass(thing, Exception)]
EXAMPLES = [
    UsageError("size '3M' is not a multiple"),
    errors.UnavailableError("backend 'tape' does not work here"),
    KernelError(errno.ENOSPC, "the region is full"),
    DaxBusError("cannot read byte 7", 7),
]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_public_and_a_daxemu_error(error):
    assert issubclass(error, DaxemuError)
    assert getattr(daxemu, error.__name__) is error
    assert error.__name__ in daxemu.__all__


def test_every_error_but_the_base_has_an_example_here():
    assert {type(example) for example in EXAMPLES} == set(CLASSES) - {DaxemuError}


@pytest.mark.parametrize(
    ("error", "builtin"),
    [(UsageError, ValueError), (errors.UnavailableError, UsageError), (KernelError, OSError), (DaxBusError, OSError)],
)
def test_an_error_is_caught_as_the_built_in_one_that_it_is(error, builtin):
    assert issubclass(error, builtin)


def test_a_kernel_error_has_the_number_of_the_kernel_and_names_the_rule():
    error = KernelError(errno.ENOSPC, "the region has 2M left")

    assert (error.errno, error.strerror) == (errno.ENOSPC, "the region has 2M left")
    assert str(error) == "the region has 2M left [ENOSPC]"


def test_a_kernel_error_without_a_rule_says_what_its_number_means():
    assert str(KernelError(errno.EBUSY)) == f"{os.strerror(errno.EBUSY)} [EBUSY]"


def test_a_kernel_error_of_an_unknown_number_shows_the_number():
    assert str(KernelError(4095, "strange")) == "strange [4095]"


def test_a_bus_error_knows_where_it_happened():
    error = DaxBusError("cannot read byte 4096", 4096)

    assert (error.errno, error.address, str(error)) == (errno.EFAULT, 4096, "cannot read byte 4096")


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_way_from_one_process_to_another(error):
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_the_text_is_one_line(error):
    assert len(str(error).splitlines()) == 1
