"""The README, the guide and the notebook do what they say."""

import json
import pathlib
import re

import jax
import pytest

import jxhash
from jxhash.methods import chn

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
SCRIPT = (ROOT / "experiments" / "compose_losses.py").read_text()
SNIPPETS = [block for block in BLOCKS if block != SCRIPT]


def test_there_are_snippets():
    assert SNIPPETS


@pytest.mark.parametrize("block", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippets_run(block, capsys):
    """Each stands alone; what a comment behind a print promises is what it prints."""
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    promised = re.findall(r"print\(.*\)  # (.*)", block)
    assert capsys.readouterr().out.splitlines()[: len(promised)] == promised


@pytest.fixture
def optimized(monkeypatch):
    """Code that runs for long is compiled as it is for users, here and in processes begun here."""
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
    was = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", was)


@pytest.mark.usefixtures("optimized")
def test_the_stranger_s_loop_comes_near_the_engine(capsys):
    """The loop of the README is the script's, and its MAP is within 0.03 of the engine's table."""
    assert SCRIPT in BLOCKS
    assert len(SCRIPT.splitlines()) <= 40
    exec(compile(SCRIPT, "compose_losses.py", "exec"), {"__name__": "readme"})
    reached = dict(re.findall(r"(.+): MAP (.+)", capsys.readouterr().out))
    table = json.loads((ROOT / "experiments" / "results" / "methods.json").read_text())
    cell = {"collection": "clipart", "method": "dcmh", "bits": 32}
    (row,) = (row for row in table["rows"] if cell.items() <= row.items())
    for task, value in reached.items():
        assert float(value) > row["values"][f"{task}, encoded, map"]["mean"] - 0.03


def test_pictures_and_links_are_there():
    text = (ROOT / "README.md").read_text()
    # The tests may lie beside the checkout's pages, and the package where it was installed.
    places = (ROOT, pathlib.Path(jxhash.__file__).parent.parent)
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert any((place / target).exists() for place in places), target


def test_the_guide_goes_through_a_method_line_by_line():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    quoted = "".join(re.findall(r"^```python\n(.*?)```", guide, flags=re.DOTALL | re.MULTILINE))
    method = pathlib.Path(chn.__file__).read_text()
    assert [line for line in quoted.splitlines() if line] == [
        line for line in method.splitlines() if line
    ]


@pytest.mark.usefixtures("optimized")
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
