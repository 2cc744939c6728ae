"""What the README promises: at most five added lines bring a method into a training code, and both sides of each diff train."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
MOST_LINES = 5


def diffs_of(text):
    """Return the diffs of a page, each under the name of the harness that it shows."""
    blocks = re.findall(r"^```diff\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    marks = {
        "lightning": "equimodal.adapters.lightning",
        "transformers": "equimodal.adapters.transformers",
        "accelerate": "accelerate import",
    }
    return {next((name for name, mark in marks.items() if mark in block), "plain"): block for block in blocks}


README = diffs_of((ROOT / "README.md").read_text(encoding="utf-8"))


def first_block(page):
    text = (ROOT / "docs" / "guide" / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)[0]


def side(diff, sign):
    return "\n".join(line[1:] for line in diff.splitlines() if line[:1] in (" ", "", sign))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def test_all_harnesses_are_shown():
    assert set(README) == {"plain", "lightning", "transformers", "accelerate"}


@pytest.mark.parametrize("harness", README)
def test_at_most_five_lines_are_added(harness):
    added = [line for line in README[harness].splitlines() if line.startswith("+") and line.strip("+ ")]
    assert len(added) <= MOST_LINES


@pytest.mark.parametrize("harness", ["lightning", "transformers", "accelerate"])
def test_the_guide_shows_the_same_diff(harness):
    assert README[harness] == diffs_of((ROOT / "docs" / "guide" / f"{harness}.md").read_text(encoding="utf-8"))[harness]


@pytest.mark.parametrize("sign", "-+")
def test_the_plain_loop_trains(sign):
    names = {"epochs": 3}
    exec(first_block("own-loop.md").split("torch.manual_seed(0)")[0], names)
    names["model"] = names["Network"]()
    names.pop("modality_groups")
    names.pop("MILES")
    exec(side(README["plain"], sign), names)
    if sign == "+":
        assert len(names["scheduler"].history) == 3
        assert names["scheduler"].multipliers == {"audio": 1.0, "image": 0.5}
    else:
        assert names["scores"]["image"] > 0.5


@pytest.mark.filterwarnings(
    "ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning",
    "ignore:.*does not have many workers:UserWarning",
    "ignore:.*smaller than the logging interval:UserWarning",
)
@pytest.mark.parametrize("sign", "-+")
def test_a_lightning_module_trains(sign):
    pytest.importorskip("lightning")
    names = {}
    exec(first_block("lightning.md").split("quiet =")[0].replace("class Network(", "class Base("), names)
    names["LightningModule"] = names["Base"]  # the diff shows the one method that changes
    code = side(README["lightning"], sign).replace("import LightningModule, Trainer", "import Trainer")
    exec(code.replace("max_epochs=4", "max_epochs=2"), names)
    logged = names["trainer"].callback_metrics
    assert float(logged["val_multimodal"]) > 0.5
    assert ("learning_rate/image" in logged) is (sign == "+")
    if sign == "+":
        assert float(logged["learning_rate/image"]) == 3e-3 * float(logged["multiplier/image"])


@pytest.mark.parametrize("sign", "-+")
def test_a_trainer_of_transformers_trains(sign):
    pytest.importorskip("transformers")
    names = {}
    exec(first_block("transformers.md").split("def new_trainer")[0], names)
    names |= {"model": names["Network"](), "args": names["arguments"]("trained", epochs=2)}
    names["compute_metrics"] = names["head_metrics"](("image", "audio"))
    exec(side(README["transformers"], sign), names)
    logged = [entry for entry in names["trainer"].state.log_history if "multiplier/image" in entry]
    assert len(logged) == (2 if sign == "+" else 0)
    assert any(entry.get("eval_multimodal", 0) > 0.3 for entry in names["trainer"].state.log_history)
