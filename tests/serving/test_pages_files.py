"""What the pages ask for is there: a script that was renamed is a page that does nothing."""

import re

import pytest

from serving.routes.pages import PAGES

STATIC = re.compile(r'(?:href|src)="/static/([^"#?]+)')
IMPORT = re.compile(r'^(?:import|export)\b[^"]*"(\.[^"]+)"', re.MULTILINE)


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.html")))
def test_every_file_that_a_page_names_exists(page: str):
    named = STATIC.findall((PAGES / page).read_text())
    assert named
    assert [name for name in named if not (PAGES / name).is_file()] == []


def test_every_module_that_a_script_imports_exists():
    scripts = list((PAGES / "js").rglob("*.js"))
    imports = [(script, name) for script in scripts for name in IMPORT.findall(script.read_text())]
    assert len(imports) > 50
    assert [f"{script.name}: {name}" for script, name in imports if not (script.parent / name).is_file()] == []
