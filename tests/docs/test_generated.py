"""The generated parts of the reference are up to date."""

from __future__ import annotations

import importlib.util
import re
from xml.etree import ElementTree

import pytest

from tests.docs.pages import DOCS


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("daxemu_docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", sorted((DOCS / "reference").glob("*.md")), ids=lambda page: page.name)
def test_page_is_up_to_date(generate, page):
    text = page.read_text()
    assert text == generate.updated(text), "run: python docs/generate.py"


def test_pictures_are_up_to_date_and_well_formed(generate):
    for path, draw in generate.PICTURES.items():
        assert path.read_text() == draw(), "run: python docs/generate.py"
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_every_part_is_on_some_page(generate):
    text = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    assert sorted(re.findall(r"<!-- generated: (\w+) -->", text)) == sorted(generate.PARTS)
