"""Sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daxemu import UsageError
from daxemu.units import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4097", 4097),
        ("4K", 4 << 10),
        ("64M", 64 << 20),
        ("2G", 2 << 30),
        ("3T", 3 << 40),
        ("1P", 1 << 50),
        ("64m", 64 << 20),
        ("64MiB", 64 << 20),
        ("64MB", 64 << 20),
        ("64 M", 64 << 20),
        (" 64M\n", 64 << 20),
        ("512B", 512),
        ("0x200000", 2 << 20),
        ("0X10K", 16 << 10),
        ("010", 10),
    ],
)
def test_a_text_is_so_many_bytes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "64Q", "1.5G", "-2M", "+2M", "64M64", "0x", "0xG", "64MM", "6 4M", "٣", "1_000"]
)
def test_what_is_no_size_is_refused_and_shown(text):
    with pytest.raises(UsageError) as caught:
        parse_size(text)

    assert repr(text) in str(caught.value)
    assert "64M" in str(caught.value)


@pytest.mark.parametrize("size", [True, 1.5, None, b"64M", [64]])
def test_what_is_neither_text_nor_int_is_refused(size):
    with pytest.raises(UsageError, match="give bytes as an int, or a text such as '64M'"):
        parse_size(size)


def test_a_negative_number_is_refused():
    with pytest.raises(UsageError, match="size -1 is negative"):
        parse_size(-1)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1 << 10, "1K"),
        (2560, "2560"),
        (4097, "4097"),
        (1536 << 10, "1536K"),
        (64 << 20, "64M"),
        (1 << 30, "1G"),
        (5 << 40, "5T"),
        (1 << 60, "1024P"),
    ],
)
def test_a_size_is_shown_with_the_largest_suffix_that_is_exact(size, text):
    assert format_size(size) == text


@given(st.integers(min_value=0, max_value=1 << 70))
def test_a_size_is_read_back_as_it_was_shown(size):
    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=0, max_value=1 << 20), st.integers(min_value=0, max_value=5))
def test_a_round_size_is_shown_short(number, power):
    assert len(format_size(number << 10 * power)) <= len(str(number)) + 1


@given(st.integers(min_value=0))
def test_an_int_is_bytes(size):
    assert parse_size(size) == size
