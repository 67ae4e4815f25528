"""The documentation's list of differences is the one that the comparisons go by."""

from tests.docs.pages import DOCS
from tests.oracle.differences import documented


def test_the_page_has_the_list():
    assert documented() in (DOCS / "explanation" / "fidelity.md").read_text(), f"it should have:\n{documented()}"
