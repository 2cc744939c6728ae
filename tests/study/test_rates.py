"""Which of the tried learning rates is chosen, and what is said about it."""

from equimodal.report.cost import Cost
from equimodal.study import Candidate, UnimodalRates


def candidate(rate, score=0.5, loss=1.0, **options):
    return Candidate(rate, score, loss, 1, Cost(2.0, 10), **options)


def found(*candidates, other=()):
    return UnimodalRates("accuracy", {"audio": candidates, **({"image": other} if other else {})})


def test_the_best_validation_score_is_chosen():
    assert found(candidate(0.001, 0.5), candidate(0.01, 0.7), candidate(0.1, 0.6)).rates == {"audio": 0.01}


def test_of_equal_scores_the_smaller_loss_is_chosen_and_then_the_smaller_rate():
    assert found(candidate(0.001, loss=1.2), candidate(0.01, loss=0.8), candidate(0.1, loss=1.1)).rates == {"audio": 0.01}
    assert found(candidate(0.001, 0.1), candidate(0.01), candidate(0.1)).rates == {"audio": 0.01}


def test_what_diverged_or_has_no_score_is_not_chosen():
    lost = Candidate(0.001, None, None, None, Cost(1.0, 10), "the loss became nan")
    assert found(lost, candidate(0.01, 0.0), candidate(0.1, None, 0.1)).rates == {"audio": 0.01}
    assert found(candidate(0.001, -3.0), lost).rates == {"audio": 0.001}


def test_the_cost_is_that_of_all_candidates_of_all_modalities():
    both = found(candidate(0.1), candidate(0.2), other=(candidate(0.1), Candidate(0.2, None, None, None, Cost(0.5, 3), "nan")))
    assert both.cost == Cost(6.5, 33)
    assert (both.seconds, both.steps) == (6.5, 33)
    assert found(Candidate(0.1, 0.5, 1.0, 1, Cost(1.0, None))).cost == Cost(1.0, None)


def test_a_choice_at_the_edge_of_the_grid_is_warned_about():
    low, high, middle = (
        found(*(candidate(rate, score) for rate, score in zip((0.1, 0.2, 0.3), scores, strict=True)))
        for scores in ((0.9, 0.5, 0.5), (0.5, 0.5, 0.9), (0.5, 0.9, 0.5))
    )
    assert (low.edges, high.edges, middle.edges) == ({"audio": "smallest"}, {"audio": "largest"}, {})
    assert low.warnings == ["audio: 0.1 is the smallest candidate: widen the grid with smaller ones"]
    assert high.warnings == ["audio: 0.3 is the largest candidate: widen the grid with larger ones"]
    assert middle.warnings == []


def test_a_single_candidate_has_no_edge():
    assert found(candidate(0.1)).warnings == []


def test_a_rate_without_effect_is_warned_about():
    assert found(candidate(0.1), candidate(0.2)).warnings == [
        "audio: all candidates learned the same, so this search says nothing; does the scheduler set the rate?"
    ]
