"""The documentation site: ``make docs``, or ``python -m sphinx -W docs build/docs``. It is built without a network."""

import sys
from pathlib import Path

import equimodal

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "equimodal"
author = copyright = "The equimodal developers"  # noqa: A001
version = release = equimodal.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "contents", "mathml", "names", "pages", "stand_ins"]
root_doc = "index"
exclude_patterns = ["_*"]
nitpicky = True

html_theme = "furo"
html_title = f"equimodal {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
pygments_style = "friendly"  # unlike the theme's own, it shows both sides of a diff
pygments_dark_style = "monokai"
html_show_sphinx = False
html_copy_source = False

# Pages are Markdown as code hosts read it: relative links to files, anchors made from headings, formulas in dollars.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# The reference is made from the docstrings; adapters are documented without the packages that they adapt to.
stand_ins = ["accelerate", "lightning", "skorch", "tensorboard", "torch.utils.tensorboard", "torchmetrics", "transformers", "wandb"]
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = True

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
