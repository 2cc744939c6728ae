import itertools

import pytest
import torch
from sklearn.metrics import f1_score

from equimodal.data import TensorSet
from equimodal.nn import MLP, JointFusion
from equimodal.tasks import TASKS
from equimodal.testing import tiny_problem
from equimodal.train.absence import absence_table

from .examples import Pairs, network, refusal, run, samples, splits


@pytest.fixture(scope="module")
def model():
    return run(epochs=8).model


def accuracy(logits, targets):
    return float((logits.argmax(dim=1) == targets).double().mean())


def test_rows_are_the_scores_of_predict(model):
    batch = splits().val[:]
    table = absence_table(model, splits().val)
    for row in table.rows:
        logits = model.predict({name: batch.inputs[name] for name in row.present})
        assert row.score == accuracy(logits, batch.targets)
    assert [row.label for row in table.rows] == ["all", "without audio: image alone", "without image: audio alone"]
    assert table.rows[0].difference is None
    assert table.row("audio").difference == table.row("audio").score - table.row("image", "audio").score
    assert (table.samples, table.incomplete, table.as_they_are, table.metric) == (30, 0, None, "accuracy")


def test_encoders_run_once_and_another_model_gives_the_same(model):
    calls = []

    class Other(JointFusion):
        def predict(self, inputs, present=None):
            calls.append(set(inputs))
            return super().predict(inputs, present)

    other = Other(dict(model.encoders), 3, model.fusion, heads=dict(model.heads), feature_sizes=model.feature_sizes).eval()
    counted = []
    handle = model.encoders["audio"].register_forward_hook(lambda *_: counted.append(1))
    table = absence_table(model, splits().val, batch_size=8)
    handle.remove()
    assert len(counted) == 4  # 30 samples in batches of 8
    assert absence_table(other, splits().val, batch_size=8) == table
    assert calls == [{"image", "audio"}, {"image"}, {"audio"}] * 4


@pytest.mark.parametrize("kind", ["tensors", "pairs", "batches"])
def test_samples_that_lack_a_modality_count_in_the_first_row_alone(model, kind):
    data = samples(40, 7, masks=True)
    mask = torch.stack([data.present["image"], data.present["audio"]])
    complete = mask.all(dim=0).nonzero().squeeze(1)
    given = {"tensors": data, "pairs": Pairs(data), "batches": [data[0:25], data[25:40]]}[kind]
    table = absence_table(model, given, batch_size=16, resamples=50)
    whole = data.subset(complete)
    bare = TensorSet(whole.inputs, whole.targets)
    assert table.rows == absence_table(model, bare, resamples=50).rows
    batch = data[:]
    assert table.as_they_are == accuracy(model.predict(batch.inputs, batch.present), batch.targets)
    assert (table.samples, table.incomplete) == (len(complete), 40 - len(complete))
    assert "each from what it has" in str(table)


def test_a_sample_without_any_modality_is_left_out_and_values_of_absent_ones_do_not_matter(model):
    data = samples(20, 7)
    data.inputs["audio"][:3] = torch.nan
    present = {"audio": torch.arange(20) > 2, "image": torch.arange(20) > 0}
    table = absence_table(model, TensorSet(data.inputs, data.targets, present), resamples=10)
    assert (table.samples, table.incomplete) == (17, 2)
    assert 0 <= table.as_they_are <= 1


def test_a_batch_may_lack_a_modality_altogether(model):
    data = samples(20, 7)[:]
    only_image = (({"image": data.inputs["image"]}), data.targets)
    table = absence_table(model, [only_image, (data.inputs, data.targets)], resamples=10)
    assert (table.samples, table.incomplete) == (20, 20)


@pytest.mark.parametrize(("count", "rows"), [(2, 3), (3, 7), (6, 63), (7, 15)])
def test_every_subset_up_to_six_modalities(count, rows):
    problem = tiny_problem(count)
    table = absence_table(problem.model, problem.val, resamples=5)
    names = table.modalities
    assert len(table.rows) == rows
    if count <= 6:
        expected = {frozenset(part) for size in range(1, count + 1) for part in itertools.combinations(names, size)}
    else:
        expected = {frozenset(names), *(frozenset(names) - {name} for name in names), *(frozenset([name]) for name in names)}
    assert {frozenset(row.present) for row in table.rows} == expected
    assert all(set(row.present) | set(row.absent) == set(names) for row in table.rows)
    assert max(map(len, str(table).splitlines())) <= 80


def test_long_names_stay_within_80_columns():
    names = [f"a_rather_long_name_of_a_modality_{letter}" for letter in "abcd"]
    encoders = {name: MLP(6, hidden=(4,), out_features=4) for name in names}
    data = TensorSet({name: torch.randn(9, 6) for name in names}, torch.arange(9) % 3)
    table = absence_table(JointFusion(encoders, 3), data, split="validation", metric="mean_average_precision", resamples=5)
    assert max(map(len, str(table).splitlines())) <= 80
    assert all(name in str(table) for name in names)


def test_intervals_are_those_of_a_paired_bootstrap(model):
    batch = splits().val[:]
    table = absence_table(model, splits().val, resamples=400, seed=3)
    right = {row.present: (model.predict({n: batch.inputs[n] for n in row.present}).argmax(1) == batch.targets) for row in table.rows}
    lost = right["audio",].double() - right["image", "audio"].double()
    generator = torch.Generator().manual_seed(3)
    drawn = torch.stack([torch.randint(30, (30,), generator=generator) for _ in range(400)])
    low, high = lost[drawn].mean(dim=1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    row = table.row("audio")
    assert (row.low, row.high) == pytest.approx((low, high), abs=1e-12)
    assert row.low <= row.difference <= row.high
    assert absence_table(model, splits().val, resamples=400, seed=3) == table
    assert absence_table(model, splits().val, resamples=400, seed=4) != table
    assert absence_table(model, splits().val, resamples=0).row("audio").low is None


def test_other_metrics_are_resampled_alike(model):
    """A metric that is no mean over samples, the same as a function, and hits against the general way."""
    val = splits().val
    ready = absence_table(model, val, metric="macro_f1", resamples=40)
    batch = val[:]
    assert ready.rows[0].score == pytest.approx(f1_score(batch.targets, model.predict(batch.inputs).argmax(1), average="macro"))

    def right(logits, targets):
        return (logits.argmax(dim=1) == targets).double().mean()

    own, quick = absence_table(model, val, metric=right, resamples=40), absence_table(model, val, resamples=40)
    assert own.metric == "right"
    for one, other in zip(own.rows[1:], quick.rows[1:], strict=True):
        assert (one.score, one.low, one.high) == pytest.approx((other.score, other.low, other.high))


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_other_tasks(task):
    done = run(task=task, epochs=4)
    table = absence_table(done.model, splits(task).val, task=TASKS[task], resamples=20)
    assert table.metric == TASKS[task].metrics[0]
    assert table.rows[0].score == pytest.approx(done.result["scores"]["val"]["multimodal"])


def test_the_model_stays_as_it_was(model):
    model.train()
    before = torch.get_rng_state()
    absence_table(model, splits().val)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    model.eval()


def test_plain_values_and_missing_rows(model):
    table = absence_table(model, splits().val, split="test", resamples=5)
    said = table.as_dict()
    assert said["rows"][1]["present"] == ("image",)
    assert (said["split"], said["level"], said["resamples"], said["seed"]) == ("test", 0.95, 5, 0)
    assert "there is no row of touch" in refusal(table.row, "touch")


def test_what_cannot_be_compared_is_refused_in_one_line(model):
    def refused(*arguments, **options):
        return refusal(absence_table, *arguments, **options)

    val = splits().val
    assert "sees 'audio' alone" in refused(model.only("audio"), val)
    assert "has no modalities and predict" in refused(torch.nn.Linear(2, 2), val)
    assert "did you mean 'accuracy'" in refused(model, val, metric="acuracy")
    assert "single-label" in refused(model, splits("regression").val)
    assert "resamples = -1" in refused(model, val, resamples=-1)
    assert "level = 95" in refused(model, val, level=95)
    nobody = TensorSet(val.inputs, val.targets, {"audio": torch.zeros(30, dtype=torch.bool)})
    assert "no sample has all of image, audio, so that" in refused(model, nobody)
    assert "split is empty" in refused(network(), val.subset(torch.arange(0)))
