"""Write the page of results of a study, with its tables, its verdict and its figures, from its archive.

    python scripts/results_study.py ARCHIVE --page docs/results/study-avdigits.md --images docs/images/study-avdigits

The page's own words stand between the markers; what lies between `<!-- begin NAME -->` and `<!-- end NAME -->` is replaced.
"""

import argparse
import re
from pathlib import Path

TABLES = ("table1", "table2", "table3", "table4", "table5", "table6", "budget", "paired", "costs", "trials", "failures")
FIGURES = ("figure1", "figure2", "budget", "costs", "differences", "sensitivity")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    options = parser.parse_args()

    from equimodal.study import read_archive
    from equimodal.study.figures import write_figures
    from equimodal.study.tables import make_table, render_tables
    from equimodal.study.verdict import make_verdict

    record = read_archive(options.archive)
    write_figures(record, options.images, FIGURES, ("svg",))
    parts = {name: render_tables(make_table(record, name), "markdown") for name in TABLES}
    parts["verdict"] = verdict_in_words(make_verdict(record))
    text = options.page.read_text(encoding="utf-8")
    for name, content in parts.items():
        between = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text = between.sub(lambda found, content=content: f"{found[1]}\n{content.strip()}\n\n{found[2]}", text)
    options.page.write_text(text, encoding="utf-8")


def verdict_in_words(verdict):
    """Return a verdict as paragraphs and lists."""
    lines = [" ".join(verdict.summary), ""]
    parts = {"What the losses bring, and what the scheduler": verdict.contributions, "The paper's claims": verdict.claims}
    for name, findings in parts.items():
        lines += [
            f"**{name}.**",
            "",
            *(f"- {finding.heading}: *{finding.status}*. {finding.statement[0].upper()}{finding.statement[1:]}" for finding in findings),
            "",
        ]
    return "\n".join([*lines, *verdict.notes])


if __name__ == "__main__":
    main()
