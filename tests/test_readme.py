"""The README and the notebook do what they say."""

import pathlib
import re

import pytest

import jxhash

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_there_are_snippets():
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_snippets_run(block, capsys):
    """Each stands alone; what a comment behind a print promises is what it prints."""
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    promised = re.findall(r"print\(.*\)  # (.*)", block)
    assert capsys.readouterr().out.splitlines()[: len(promised)] == promised


def test_pictures_and_links_are_there():
    text = (ROOT / "README.md").read_text()
    # The tests may lie beside the checkout's pages, and the package where it was installed.
    places = (ROOT, pathlib.Path(jxhash.__file__).parent.parent)
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert any((place / target).exists() for place in places), target


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """The cell that installs is passed over: what it would install is being tested."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(ROOT / "experiments" / "colab.ipynb", as_version=4)
    notebook.cells = [c for c in notebook.cells if "install" not in c.metadata.get("tags", [])]
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert "image to text" in printed
