"""docs/operations.md says only what a test shows: each row names one, and each that it names exists."""

import ast
import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TEXT = (CHECKOUT / "docs" / "operations.md").read_text()
SHOWN_BY = re.compile(r"\[(\w+)\]\(\.\./(tests/[\w/]+\.py)\)`::(test_\w+)`")


def rows() -> list[str]:
    """Return the rows of the table of faults."""
    lines = [line for line in TEXT.splitlines() if line.startswith("| ")]
    assert lines[0].startswith("| what fails |")
    return lines[2:]


def test_each_row_names_a_test_that_exists() -> None:
    assert len(rows()) > 15
    for row in rows():
        named = SHOWN_BY.search(row)
        assert named, f"no test is named by the row: {row}"
        shown, file, test = named.groups()
        assert Path(file).stem == shown
        tree = ast.parse((CHECKOUT / file).read_text())
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert test in functions, f"{file} has no {test}"


def test_every_file_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    missing = [link for link in links if not (CHECKOUT / "docs" / link).exists()]
    assert missing == []
