"""What importing costs: optional packages stay optional, torch stays out of the help, and the package adds little to torch."""

import os
import re
import statistics
import subprocess
import sys

import pytest

OPTIONAL = (
    *("numpy", "matplotlib", "transformers", "scipy", "sklearn", "jinja2", "ruamel", "pooch", "safetensors", "PIL"),
    *("lightning", "pytorch_lightning", "accelerate", "skorch", "torchmetrics", "tensorboard", "wandb", "peft"),
)
EVERYTHING = "from equimodal import *"


def python(*arguments):
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


def imported(*arguments):
    """Return the names of all modules that a Python command imports."""
    return {line.rpartition("|")[2].strip() for line in python("-X", "importtime", *arguments).stderr.splitlines()}


def processor_time(*arguments):
    """Return the processor time of a Python command, which other work on the machine hardly disturbs."""
    before = os.times()
    python(*arguments)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def median_ratio(command, reference, budget, repeats=3):
    """Return the median cost of a command over a reference, measured by turns; more turns where it is close to the budget."""
    ratios = []
    while len(ratios) < repeats or (len(ratios) < 4 * repeats and 0.95 < statistics.median(ratios) / budget < 1.3):
        ratios.append(processor_time(*command) / processor_time(*reference))
    return statistics.median(ratios)


# --- costs


def test_importing_the_package_costs_at_most_a_fifth_more_than_torch():
    """The budget holds for the bare import, and also with every public name loaded."""
    bare, everything, torch = imported("-c", "import equimodal"), imported("-c", EVERYTHING), imported("-c", "import torch")
    assert "torch" not in bare
    assert len(bare) < 0.1 * len(torch)
    assert "torch" in everything
    assert not any(name.startswith("equimodal.adapters") for name in everything)
    assert len(everything) <= 1.2 * len(torch), sorted(everything - torch)
    assert median_ratio(("-c", EVERYTHING), ("-c", "import torch"), 1.2) <= 1.2


def test_the_help_costs_at_most_two_fifths_of_torch():
    assert median_ratio(("-m", "equimodal", "--help"), ("-c", "import torch"), 0.4) <= 0.4


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)], ids=" ".join)
def test_the_help_imports_neither_torch_nor_any_optional_package(arguments):
    found = {name.partition(".")[0] for name in imported("-m", "equimodal", *arguments)}
    assert "equimodal" in found
    assert not found & {"torch", *OPTIONAL}


def test_a_wrong_command_is_answered_without_torch():
    code = (
        "import sys\nfrom equimodal.cli import main\n"
        "assert main(['trian']) == 2\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    assert re.fullmatch(r"equimodal: .*'trian'.*'train'.*\n", python("-c", code).stderr)


# --- torch alone

BLOCK = f"""
import sys, warnings
sys.modules.update(dict.fromkeys({OPTIONAL!r}))  # importing any of them now raises
warnings.filterwarnings("ignore", message="Failed to initialize NumPy")  # torch remarks on the lack of it
import torch
"""

ROOMS = """
import importlib, pkgutil
import equimodal
for room in ("equimodal.scores", "equimodal.groups", "equimodal.errors", "equimodal.tasks", "equimodal.head_scores", "equimodal.balancer"):
    importlib.import_module(room)
for room in ("methods", "nn", "nn.encoders", "scoring", "train"):
    package = importlib.import_module(f"equimodal.{room}")
    for info in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{info.name}")
for name in equimodal.__all__:
    getattr(equimodal, name)
"""

TRAINING = """
from equimodal import JointFusion, fit, simulate
from equimodal.data.tensors import TensorSet
from equimodal.nn import MLP

generator = torch.Generator().manual_seed(0)
targets = torch.arange(40) % 2
inputs = {name: torch.randn(40, 3, generator=generator) + targets[:, None] for name in ("audio", "image")}
data = TensorSet(inputs, targets)
model = JointFusion({name: MLP(3, hidden=(4,), out_features=4) for name in inputs}, 2)
run = fit(model, data, data, method="miles", epochs=3, batch_size=10, out=FOLDER)
assert [record["epoch"] for record in run.history] == [1, 2, 3]
assert set(run.history[0]["multipliers"]) == {"audio", "image"}
assert len(simulate([record["scores"]["val"] for record in run.history]).records) == 3
"""

MISSING = """
from equimodal.errors import MissingDependency
try:
    simulate([record["scores"]["val"] for record in run.history]).plot()
except MissingDependency as error:
    print(error)
"""


def test_every_core_room_imports_with_torch_alone():
    python("-W", "error", "-c", BLOCK + ROOMS)


def test_a_model_trains_with_torch_alone_and_figures_say_what_they_need(tmp_path):
    script = BLOCK + f"FOLDER = {str(tmp_path / 'run')!r}\n" + TRAINING + MISSING
    done = python("-W", "error", "-c", script)
    assert (tmp_path / "run" / "result.json").exists()
    assert re.fullmatch(r"matplotlib is needed here and is not installed; install it with: pip install 'equimodal\[\w+\]'\n", done.stdout)


def test_every_public_name_is_there_and_unknown_ones_are_not():
    import equimodal

    assert all(hasattr(equimodal, name) for name in equimodal.__all__)
    assert set(equimodal.__all__) <= set(dir(equimodal))
    with pytest.raises(AttributeError, match=r"^module 'equimodal' has no attribute 'MILE'$"):
        _ = equimodal.MILE
