"""What is written to an attribute, read as the kernel reads it."""

from __future__ import annotations

import errno

import pytest

from daxemu.sysfs.parse import device_name, parse_bool, parse_int, parse_range, parse_unsigned, same_text
from tests.kernel.fakes import errno_of

MAX64 = (1 << 64) - 1
TOO_LARGE = "99999999999999999999999"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("00", 0),
        ("5", 5),
        ("5\n", 5),
        ("+5", 5),
        ("+0x200000", 2 << 20),
        ("2097152", 2 << 20),
        ("0x200000", 2 << 20),
        ("0X1f\n", 31),
        ("0xFf", 255),
        ("010", 8),
        ("010000000", 2 << 20),
        ("+010", 8),
        ("18446744073709551615", MAX64),
        ("0xffffffffffffffff", MAX64),
        ("01777777777777777777777", MAX64),
    ],
)
def test_a_number_is_decimal_hexadecimal_or_octal(text: str, value: int):
    assert parse_unsigned(text) == value


JUNK = [
    *("", "\n", "+", "x", "abc", "0x", "0xg", "0b1", "08", "0o7", "5 ", " 5", "\t5", "5\t", "6 x", "64M", "1e3", "1.0"),
    *("++5", "+-5", "5\n\n", "\n5", "5\r\n", "1_000", "０", "٣", "0x_1", "0x 1", "5\n "),
]


@pytest.mark.parametrize("text", [*JUNK, "-1", "-0"])
def test_anything_else_is_no_number(text: str):
    assert errno_of(parse_unsigned, text) == errno.EINVAL


@pytest.mark.parametrize(
    "text", [TOO_LARGE, TOO_LARGE + "\n", "18446744073709551616", "0x10000000000000000", "02000000000000000000000"]
)
def test_a_number_of_more_than_64_bits_is_out_of_range(text: str):
    assert errno_of(parse_unsigned, text) == errno.ERANGE


@pytest.mark.parametrize("after", [" ", "x", "\n\n", "-"])
def test_too_large_comes_before_what_follows_the_digits(after: str):
    assert errno_of(parse_unsigned, TOO_LARGE + after) == errno.ERANGE


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("+1", 1),
        ("1\n", 1),
        ("0x1\n", 1),
        ("01", 1),
        ("-1", -1),
        ("-0", 0),
        ("-0x10\n", -16),
        ("2147483647", 2147483647),
        ("-2147483648", -2147483648),
    ],
)
def test_an_int_may_be_negative(text: str, value: int):
    assert parse_int(text) == value


@pytest.mark.parametrize("text", [*JUNK, "-", "--1", "-+1", "- 1", "-1 "])
def test_anything_else_is_no_int(text: str):
    assert errno_of(parse_int, text) == errno.EINVAL


@pytest.mark.parametrize("text", ["2147483648", "-2147483649", "0x80000000", TOO_LARGE, f"-{TOO_LARGE}"])
def test_an_int_of_more_than_32_bits_is_out_of_range(text: str):
    assert errno_of(parse_int, text) == errno.ERANGE


@pytest.mark.parametrize("text", ["1", "y", "Y", "yes", "t", "true\n", "on", "On", "ON\n", "1\n", "10", "onward"])
def test_yes_is_read_by_the_first_letters(text: str):
    assert parse_bool(text) is True


@pytest.mark.parametrize("text", ["0", "n", "N", "no", "f", "False\n", "of", "off", "OFF\n", "0\n", "01"])
def test_no_is_read_by_the_first_letters(text: str):
    assert parse_bool(text) is False


@pytest.mark.parametrize("text", ["", "\n", "q", "2", " 1", "+1", "-1", "o", "ok", "\n1"])
def test_anything_else_is_no_truth_value(text: str):
    assert errno_of(parse_bool, text) == errno.EINVAL


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x140000000-0x1401fffff", (0x140000000, 0x1401FFFFF)),
        ("0x140000000-0x1401fffff\n", (0x140000000, 0x1401FFFFF)),
        ("140000000-1401fffff", (0x140000000, 0x1401FFFFF)),
        ("10-20", (0x10, 0x20)),
        ("0-1", (0, 1)),
        ("010-0X20", (0x10, 0x20)),
        ("+10-+20", (0x10, 0x20)),
        ("20-10", (0x20, 0x10)),
        ("10\n-20\n", (0x10, 0x20)),
        ("ffffffffffffffff-0", (MAX64, 0)),
    ],
)
def test_a_range_is_two_hexadecimal_numbers(text: str, value: tuple[int, int]):
    assert parse_range(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n", "-", "1234", "1-", "-1", "zz-yy", "0x-1", "1-0x", "0x1-0x2-0x3", "1--2", "1-2 ", " 1-2", "1 - 2"),
        *("1-2\n\n", "1-2x", "g-1", "1-g", "1,2", "1:2"),
    ],
)
def test_anything_else_is_no_range(text: str):
    assert errno_of(parse_range, text) == errno.EINVAL


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10000000000000000-1", errno.ERANGE),
        ("1-10000000000000000", errno.ERANGE),
        ("10000000000000000-zz", errno.ERANGE),
        ("zz-10000000000000000", errno.EINVAL),
    ],
)
def test_the_start_of_a_range_is_read_first(text: str, expected: int):
    assert errno_of(parse_range, text) == expected


@pytest.mark.parametrize("text", ["dax0.0", "dax0.0\n", "dax99.0", "dax12.34\n", "dax2147483647.0"])
def test_a_device_name_may_end_in_a_newline(text: str):
    assert device_name(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n", "x", "dax", "dax0", "dax0.", "dax.0", "dax099.0", "dax99.00", "dax0.0 ", " dax0.0", "dax 0.0"),
        *("dax0.0x", "dax0.0.0", "dax0.0\n\n", "\ndax0.0", "dax+0.0", "dax0.-0", "DAX0.0", "dax0x0.0", "dax٣.0"),
        *("dax2147483648.0", "dax0.4294967296"),
    ],
)
def test_a_device_name_is_exactly_as_the_kernel_prints_it(text: str):
    assert errno_of(device_name, text) == errno.EINVAL


@pytest.mark.parametrize(("text", "same"), [("a", "a"), ("a\n", "a"), ("a\n\n", "a\n"), ("\n", ""), ("", "")])
def test_one_newline_at_the_end_is_no_difference(text: str, same: str):
    assert same_text(text) == same
