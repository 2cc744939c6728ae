"""The verdict: what a diagnosis says in plain sentences, each with its evidence and with what to try next.

Everything is read from the record. Intervals are those of the record, over samples: they say what other samples of the same kind would
show of this model, and nothing about another training run. Nothing is said about causes; what to try is a proposal.

**The words.** *s* is the joint model's score and *c* that of knowing nothing: of always answering the commonest class; for R² zero, that of
the mean; for other scores that of the joint model with every modality taken from other samples (else replaced by its mean, or zero). *s −
c* is the gain. The loss of a modality is *s* minus the score without it. The sentences speak of one way of leaving it out, the first of
mean, absent, zero and permutation that is there, as its Shapley values do; others are named where they disagree.

**What a modality does**, by its loss *l* with the interval *[low, high]*, and a negligible loss *n* = 0.05 · gain:

==============  ====================================================================================================
adds            low > 0 and high > n
harmful         high < 0 and −l > n
cannot be told  neither, and high > n: the loss may be none, and may be more than negligible
adds nothing    otherwise, high ≤ n; in one of these ways:

                - redundant: its Shapley value is above n with its interval, so that it is used
                - unused: its probe (else its head) has its interval above c, and is no noise: it could tell something
                - noise: the interval of its probe (else its head) ends within 2n of c, or its value is within n of c
                - open: there is neither, or its interval is too wide
==============  ====================================================================================================

Where no prediction changes, a bootstrap sees no loss in any number of samples; *high* is therefore never taken as less than 3 divided by
their number, the 95 % limit for what happened to none of them (scores that are shares). In the same way no model is above chance, and
no modality dominates, by less than that.

A twentieth of the gain, because no decision hangs on less, and because the intervals of a few hundred samples can tell it from none: with
300 samples, a gain of 0.8 and a loss near zero that changes one prediction in fifty, half the interval is 0.016, and n is 0.04.

**What the model uses**, by Shapley values (losses where there are none):

- *dominated by X*: X is worth at least twice as much as the next one, and its interval begins above the next one's end. Twice is a
  convention: between two modalities it is two thirds of what both give.
- *balanced*: every modality adds, and the upper end of the most is at most twice the lower end of the least.
- *leaning*: neither, and the intervals of the most and the least are apart.
- *cannot be told*: otherwise.
- Where another way of leaving out leads to another answer on *dominated*, *balanced* or *needs both*, the sentence names it.
- *needs both*: the Shapley interaction of two modalities that add is above n with its interval. Where neither alone is above *c*, that is
  a label that only both tell, as an exclusive or; where they are, the fusion has not learned to do with one.

Intervals that are apart are a stricter test than an interval of the difference: the verdict errs towards "cannot be told".

The utilization gap δ of the heads is compared with the run's own τ, else with 0.2, where the paper begins: above, if its interval is;
"cannot be told" if its interval holds τ. "Since epoch e" is the first epoch from which the recorded δ stays above τ with the same head
ahead, until the last.

**The state of training:**

- *at chance*: the interval of *s* reaches down to *c*. Nothing else is said about use.
- *worse than one*: all utilization rates but that of the best head's own modality are below zero with their intervals, by more than n.
- *undertrained*: over the last quarter of the epochs train and validation scores rose, from mean to mean of quarters, by more than
  0.03 · gain, and the best epoch lies in it: by less they move with a few hundred validation samples anyway. At least eight epochs are
  needed for that. With any number of them, also where the validation score was at its best in the last epoch, and rose by more than
  0.03 · gain from the one before.
- *overfits*: a head is not undertrained, its modality is no noise (nor, where the model needs both, at chance by itself), and its train
  score minus its score here is more than a fifth of its train score minus *c*, with an interval above zero. From a run's records, where it
  has none: more than the whole width of the interval of the score here. A fifth of what was learned is the measure that τ is for heads; the
  interval keeps out what the choice of samples makes. Fewer epochs are advised only where there are eight or more of them and no head is
  still learning.
- *fusion behind*, *head behind*: the interval of a linear probe on the same features begins above the end of the head's, by more than n.
- *calibration*: the expected calibration error is above 0.05 with its interval, and by more than 0.05 (and more than chance moves it)
  above that which a perfect head of the same confidences has by chance alone: with five classes and 200 samples that is 0.07.

**The order**: at chance first; then what the model uses; what single modalities do; the state of training, what would change the
verdict before what would not.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from equimodal.diagnose import verdict_training, verdict_use
from equimodal.diagnose.verdict_facts import NEGLIGIBLE, TAU, Facts
from equimodal.report.words import title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from equimodal.diagnose.quantities import Finding
    from equimodal.diagnose.record import Diagnosis

__all__ = ["NEGLIGIBLE", "ORDER", "TAU", "verdict"]

ORDER = (
    "at chance",
    "synergy",
    "dominated",
    "balanced",
    "leaning",
    "redundant",
    "uncertain",
    "worse than one",
    "harmful",
    "unused",
    "undertrained",
    "overfits",
    "noise",
    "nothing",
    "heads apart",
    "fusion behind",
    "head behind",
    "calibration",
)
"""The kinds of findings, the most important first."""


def verdict(diagnosis: Diagnosis) -> tuple[Finding, ...]:
    """Return what a diagnosis says, the most important first; the rules stand in this module's description.

    >>> from equimodal.diagnose.record import Ablation, Diagnosis, Interval
    >>> lost = {"audio": Interval(0.5, 0.45, 0.55), "image": Interval(0.0, -0.01, 0.01)}
    >>> record = Diagnosis(
    ...     "a model", ("audio", "image"), "single-label", "accuracy", "val", 400, 0, 0.95, 1000, 0, chance=0.1,
    ...     heads={"multimodal": Interval(0.9, 0.87, 0.93)}, probes={"image": Interval(0.4, 0.35, 0.45)},
    ...     ablations={"mean": {name: Ablation(Interval(0.9 - loss.value), loss) for name, loss in lost.items()}},
    ... )
    >>> [(finding.kind, finding.subject) for finding in verdict(record)]
    [('dominated', 'audio'), ('unused', 'image')]

    :param diagnosis: the record; whatever it lacks, nothing is said about.
    :returns: at least one finding.
    """
    facts = Facts(diagnosis)
    chance = verdict_training.at_chance(facts)
    found = [chance] if chance is not None else list(verdict_use.findings(facts))
    found += verdict_training.findings(facts, tuple(found))
    answered = any(finding.kind in ORDER[: ORDER.index("uncertain")] for finding in found)

    def rank(finding: Finding) -> int:
        # What cannot be told of one modality matters less where something is known of all.
        late = finding.kind == "uncertain" and finding.subject != MULTIMODAL and answered
        return ORDER.index("nothing" if late else finding.kind)

    return tuple(map(_polished, _once(sorted(found, key=rank))))


def _once(findings: list[Finding]) -> Iterator[Finding]:
    """Yield findings of which none repeats the advice of another one before it: "as above" stands for that."""
    given = set()
    for finding in findings:
        yield dataclasses.replace(finding, advice="As above.") if finding.advice in given else finding
        given.update({finding.advice} - {None})


def _polished(finding: Finding) -> Finding:
    return dataclasses.replace(finding, sentence=title_case(" ".join(finding.sentence.split())))
