"""The documentation is true: its examples run, its links lead somewhere, its commands are understood.

The blocks of a page run in order, in one namespace and in an empty folder:

- ``python`` is executed; ``pycon``, and ``python`` that begins with ``>>>``, is a doctest. Where the first line names a file, such as
  ``# my_methods.py``, the block is written to that file instead. ``FOLDER`` stands for real data: the block runs where they are.
- ``diff``: both sides must be Python. ``yaml`` is a configuration, and trains, or that of a comparison or a study, and is understood.
  ``toml`` must parse. ``console`` must print what is shown.
"""

import argparse
import ast
import doctest
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from equimodal._yaml import read_yaml
from equimodal.cli import compare, data, main, rates
from equimodal.cli.commands import make_parser
from equimodal.cli.parser import no_more
from equimodal.cli.train import configuration
from equimodal.data import datasets
from equimodal.data.downloads import cache_dir
from equimodal.study import declare
from equimodal.study.comparison import UNIMODAL_RATES
from equimodal.study.declaration import ready_files
from equimodal.study.parts import PARTS
from equimodal.study.plan import make_plan, method_names
from equimodal.study.series import check_fit, expand
from equimodal.train.config import DEFAULTS, resolve, train

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DATA = Path(os.environ.get("EQUIMODAL_TEST_DATA") or cache_dir())
SHELLS = ("sh", "bash", "shell")


class Block(NamedTuple):
    language: str
    text: str
    line: int  # lines before its first one


def blocks_of(page, *languages):
    """Return the fenced blocks of a page."""
    found, lines = [], page.read_text(encoding="utf-8").splitlines()
    opened = None
    for number, line in enumerate(lines):
        if opened is None and line.startswith("```"):
            opened = number
        elif opened is not None and line.strip() == "```":
            text = "\n".join(lines[opened + 1 : number]) + "\n"
            found.append(Block(lines[opened].strip("` "), text, opened + 1))
            opened = None
    assert opened is None, f"{page}: the block opened in line {opened + 1} is never closed"
    return [block for block in found if block.language in languages]


def prose_of(page):
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```\s*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def with_blocks(*languages):
    chosen = [page for page in PAGES if blocks_of(page, *languages)]
    return pytest.mark.parametrize("page", chosen, ids=lambda page: str(page.relative_to(ROOT)))


def file_of(block):
    match = re.match(r"# (\w+)\.py\n", block.text)
    return match[1] if match else None


@pytest.fixture
def write_files(tmp_path, monkeypatch):
    """Return a function that writes the files of a page into an empty folder, from where they can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EQUIMODAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(page):
        for block in blocks_of(page, "python"):
            if name := file_of(block):
                Path(f"{name}.py").write_text(block.text, encoding="utf-8")
                written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


# What Lightning remarks on in trainings as small as these, and what it uses of torch that is deprecated.
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint need to be provided:UserWarning")
@with_blocks("python", "pycon")
def test_examples_run(page, write_files):
    write_files(page)
    namespace = {"__name__": "page"}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    with torch.random.fork_rng([]):
        for block in blocks_of(page, "python", "pycon"):
            text = block.text
            if file_of(block):
                continue
            if "FOLDER" in text:
                if not (DATA / "fsdd" / "fsdd_8khz_int16.npz").exists():
                    continue
                text = text.replace("FOLDER", str(DATA))
            if text.startswith(">>>"):
                test = doctest.DocTestParser().get_doctest(text, namespace, page.name, str(page), block.line)
                report = []
                failed = runner.run(test, out=report.append, clear_globs=False).failed
                namespace.update(test.globs)
                assert not failed, "".join(report)
            else:
                exec(compile("\n" * block.line + text, str(page), "exec"), namespace)


@with_blocks("diff")
def test_both_sides_of_a_diff_are_python(page):
    for block in blocks_of(page, "diff"):
        for side in "-+":
            lines = [line[1:] for line in block.text.splitlines() if line[:1] in (" ", side, "")]
            tree = ast.parse("\n".join(lines), f"{page}, line {block.line}")
            imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
            exec(compile(ast.Module(imports, []), str(page), "exec"), {})


@with_blocks("yaml")
def test_configurations_train(page, tmp_path):
    for block in blocks_of(page, "yaml"):
        file = tmp_path / "config.yaml"
        file.write_text(block.text, encoding="utf-8")
        if "datasets" in read_yaml(file):
            check_fit(expand(declare(read_yaml(file))), {})
        elif "methods" in read_yaml(file):
            check_command(["compare", "--config", str(file), "--out", str(tmp_path)])
        else:
            train({**read_yaml(file), "epochs": 1})


@with_blocks("toml")
def test_toml_parses(page):
    for block in blocks_of(page, "toml"):
        tomllib.loads(block.text)


def slug(heading):
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower()).replace(" ", "-")


def anchors(page):
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", prose_of(page), flags=re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    prose = re.sub(r"`[^`\n]*`", "", prose_of(page))
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.relative_to(ROOT)} links to {link}, which is not there"
        assert not anchor or anchor in anchors(target), f"{page.relative_to(ROOT)} links to {link}: {target.name} has no such heading"


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    missing = [
        page.name for page in PAGES[1:] if page.name != "index.md" and f"({page.relative_to(ROOT / 'docs').as_posix()})" not in index
    ]
    assert not missing


def commands_in(script):
    """Yield the words of each call of equimodal in a shell script, without the program's name."""
    for line in script.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*|\d?>+ *[^\s;]+", "", line)
        for part in re.split(r"[;|]|&&", line):
            words = shlex.split(re.sub(r"\$\{?\w+\}?", "1", part))
            names = [Path(word).name for word in words]
            place = names.index("equimodal") if "equimodal" in names else None
            if place is not None and all(re.match(r"do$|time$|\w+=", word) for word in words[:place] if words[place - 1] != "-m"):
                yield words[place + 1 :]


def check_command(words):
    if words[-1] in ("--help", "--version"):
        assert main(words) == 0
        return
    arguments, extra = make_parser().parse_known_args(words)
    if words[0] == "train":
        if arguments.config is not None and not arguments.config.exists():
            arguments.config = None
        resolve(configuration(arguments, extra))
        return
    if words[0] == "rates":
        resolve({**rates.asked(arguments, extra), "method": "joint"})
        return
    if words[0] == "compare":
        asked = compare.asked(arguments, extra)
        modalities = datasets.get(resolve(asked["config"])["dataset"]["name"]).modalities
        make_plan(method_names(asked["methods"]), asked["options"], modalities, {UNIMODAL_RATES: dict.fromkeys(modalities, 0.1)})
        return
    if words[0] == "data":
        wanted = data.asked(arguments, extra)
        if wanted.action == "show":
            assert main(words) == 0
        else:
            wanted.dataset()
        return
    no_more(extra, arguments.parser)
    if words[0] in ("study", "reproduce"):
        named = Path(arguments.study if words[0] == "study" else arguments.dataset)
        assert named.suffix in (".yaml", ".zip") or named.name in ready_files()
        assert words[0] == "study" or arguments.part in PARTS
    if words[0] == "methods":
        assert main(words) == 0


@with_blocks(*SHELLS)
def test_commands_are_understood(page, write_files):
    write_files(page)
    for block in blocks_of(page, *SHELLS):
        for words in commands_in(block.text):
            check_command(words)


@with_blocks("console")
def test_commands_print_what_is_shown(page, write_files, capsys):
    write_files(page)
    for block in blocks_of(page, "console"):
        for shown in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, output = shown.partition("\n")
            for words in commands_in(command):
                main(words)
            printed = capsys.readouterr()
            assert (printed.out + printed.err).strip() == output.strip()


def subparsers(parser=None):
    actions = (make_parser() if parser is None else parser)._actions
    return next((action.choices for action in actions if isinstance(action, argparse._SubParsersAction)), {})


def flags_of(parser):
    """Return the flags of a command and of its actions."""
    return {*parser.flags(), *(flag for inner in subparsers(parser).values() for flag in flags_of(inner))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_flags_in_the_text_exist(page):
    parsers = subparsers()
    everywhere = {flag for parser in parsers.values() for flag in flags_of(parser)}
    for code in re.findall(r"`([^`\n]+)`", prose_of(page)):
        words = code.split()
        known = everywhere
        if words[0] == "equimodal" and len(words) > 1 and words[1].isalpha() and words[1].islower():
            assert words[1] in parsers, f"{page.name}: {code}"
            known = flags_of(parsers[words[1]])
        elif words[0] != "equimodal" and not words[0].startswith("--"):
            continue
        for word in words:
            flag = word.partition("=")[0]
            if flag.startswith("--"):
                assert flag in known or ("." in flag and flag[2:].partition(".")[0] in (*DEFAULTS, "methods")), (
                    f"{page.name}: unknown flag in {code}"
                )
