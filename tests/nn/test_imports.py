import subprocess
import sys

SCRIPT = """
import sys
sys.modules.update(dict.fromkeys(["numpy", "transformers"]))  # importing either now raises
import warnings
warnings.filterwarnings("ignore")  # torch remarks on the lack of numpy
import equimodal.nn
from equimodal.nn.encoders import ENCODERS
assert ENCODERS.names() == ["mlp", "resnet", "sequence", "text", "transformers"], ENCODERS.names()
try:
    equimodal.nn.TransformersBackbone("bert")
except ImportError as error:
    print(error)
"""


def test_the_room_needs_torch_alone():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "transformers is needed here and is not installed; install it with: pip install 'equimodal[transformers]'\n"
