"""Unimodal evidence: six ways to ask one modality alone, each by its formula, and none of them leaves a trace."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from equimodal.data import Batch
from equimodal.errors import InputError
from equimodal.methods.evidence import EVIDENCE, check_evidence, make_evidence
from equimodal.nn import MLP, JointFusion, Prediction, SequenceEncoder, Sequences
from equimodal.testing import tiny_problem

ANY_MODEL = ("zeroed-input", "head")


def example(modalities=2, fusion="sum", dtype=torch.float64):
    """A model for which every kind of evidence exists, a batch of 20 and what the model says of it."""
    problem = tiny_problem(modalities, fusion=fusion, dtype=dtype)
    batch = problem.train[slice(0, 20)]
    return problem.model, batch, problem.model(batch.inputs, batch.present)


def expected(kind, model, batch, prediction, name):
    """Each formula, written plainly."""
    feature, fusion, number = prediction.features[name], model.fusion, len(model.modalities)
    if kind == "slice":
        return feature @ fusion.linear.weight.T + fusion.linear.bias / number
    if kind == "zeroed-feature":
        return model.fuse({other: f if other == name else 0 * f for other, f in prediction.features.items()})
    if kind == "zeroed-input":
        inputs = {other: value if other == name else 0 * value for other, value in batch.inputs.items()}
        return copy.deepcopy(model).eval()(inputs, batch.present).multimodal
    if kind == "head":
        return model.heads[name](feature)
    if kind == "shared-head":
        return fusion.linear(feature)
    means = torch.stack([feature[batch.targets == number].mean(dim=0) for number in range(3)])
    return -(feature.unsqueeze(1) - means).norm(dim=2)


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("kind", EVIDENCE)
def test_is_its_formula(kind, modalities):
    model, batch, prediction = example(modalities)
    found = make_evidence(kind, model).logits(prediction, batch)
    assert list(found) == list(model.modalities)
    for name, logits in found.items():
        assert logits.shape == (20, 3)
        torch.testing.assert_close(logits, expected(kind, model, batch, prediction, name).detach())


def test_slices_are_the_columns_of_a_concatenation():
    model, batch, prediction = example(3, "concat")
    found = make_evidence("slice", model).logits(prediction, batch)
    weight, bias = model.fusion.linear.weight, model.fusion.linear.bias
    for place, name in enumerate(model.modalities):
        columns = weight[:, 6 * place : 6 * place + 6]
        torch.testing.assert_close(found[name], (prediction.features[name] @ columns.T + bias / 3).detach())


@pytest.mark.parametrize("fusion", ["concat", "sum", "additive", "late"])
def test_slices_add_up_to_the_multimodal_logits(fusion):
    model, batch, prediction = example(3, fusion)
    found = make_evidence("slice", model).logits(prediction, batch)
    torch.testing.assert_close(sum(found.values()), prediction.multimodal.detach(), rtol=1e-13, atol=1e-13)


def test_the_kinds_are_not_the_same_thing():
    model, batch, prediction = example()
    found = [make_evidence(kind, model).logits(prediction, batch)["audio"] for kind in EVIDENCE]
    for place, one in enumerate(found):
        for other in found[:place]:
            # With a sum, zeroing the other feature is applying the layer to this one.
            assert not torch.allclose(one, other) or place == EVIDENCE.index("shared-head")


@pytest.mark.parametrize("kind", EVIDENCE)
def test_leaves_no_graph_and_the_prediction_as_it_was(kind):
    def refuse(tensor):
        raise AssertionError("a tensor was kept for a backward pass")

    model, batch, prediction = example()
    with torch.autograd.graph.saved_tensors_hooks(refuse, refuse):
        found = make_evidence(kind, model).logits(prediction, batch)
    assert not any(logits.requires_grad for logits in found.values())
    prediction.multimodal.sum().backward()
    assert model.fusion.linear.weight.grad is not None


def test_leaves_no_graph_where_a_part_is_the_feature_itself():
    class Plain(nn.Module):
        def forward(self, features):
            return features["audio"] + features["image"]

        def contributions(self, features):
            return dict(features)

    model = JointFusion({"audio": nn.Linear(5, 3), "image": nn.Linear(5, 3)}, 3, Plain())
    inputs = {"audio": torch.ones(2, 5), "image": torch.ones(2, 5)}
    found = make_evidence("slice", model).logits(model(inputs), Batch(inputs, torch.zeros(2, dtype=torch.int64)))
    assert not any(logits.requires_grad for logits in found.values())


@pytest.mark.parametrize("kind", EVIDENCE)
def test_reads_the_weights_as_they_are_now(kind):
    model, batch, prediction = example()
    evidence = make_evidence(kind, model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    prediction = model(batch.inputs)
    torch.testing.assert_close(
        evidence.logits(prediction, batch)["image"], expected(kind, model, batch, prediction, "image").detach(), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("kind", EVIDENCE)
def test_a_modality_that_the_batch_lacks_has_no_entry(kind):
    model, batch, _ = example(3)
    batch = Batch({name: batch.inputs[name] for name in ("text", "audio")}, batch.targets)
    prediction = model(batch.inputs)
    found = make_evidence(kind, model).logits(prediction, batch)
    assert list(found) == ["audio", "text"]  # the model's order
    torch.testing.assert_close(found["text"], expected(kind, model, batch, prediction, "text").detach())


@pytest.mark.parametrize("kind", EVIDENCE)
def test_rows_that_lack_a_modality_have_no_influence_on_the_others(kind):
    results = []
    for garbage in (0.0, float("nan")):
        model, batch, _ = example(3)
        mask = torch.arange(20) % 3 != 1
        audio = batch.inputs["audio"].masked_fill(~mask.unsqueeze(1), garbage)
        batch = Batch({**batch.inputs, "audio": audio}, batch.targets.roll(3), {"audio": mask})
        prediction = model(batch.inputs, batch.present)
        found = make_evidence(kind, model).logits(prediction, batch)
        results.append({**found, "audio": found["audio"][mask]})
    torch.testing.assert_close(results[0], results[1])
    assert all(logits.isfinite().all() or kind == "prototype" for logits in results[0].values())


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("kind", EVIDENCE)
def test_has_full_precision_under_autocast(kind, inside):
    model, batch, _ = example(dtype=torch.float32)
    evidence = make_evidence(kind, model)
    with torch.autocast("cpu", torch.bfloat16):
        prediction = model(batch.inputs)
        if inside:
            found = evidence.logits(prediction, batch)
    if not inside:
        found = evidence.logits(prediction, batch)
    assert prediction.features["audio"].dtype == prediction.multimodal.dtype == torch.bfloat16
    features = {name: feature.float() for name, feature in prediction.features.items()}
    full = Prediction(prediction.multimodal.float(), prediction.unimodal, features)
    for name, logits in found.items():
        assert logits.dtype == torch.float32
        if kind == "head":
            assert torch.equal(logits, prediction.unimodal[name].float())  # what the model said, not more
        else:
            torch.testing.assert_close(logits, expected(kind, model, batch, full, name).detach())


@pytest.mark.parametrize("kind", EVIDENCE)
def test_a_model_of_half_precision_answers_in_32_bits(kind):
    model, batch, _ = example(dtype=torch.float32)
    model = model.to(torch.bfloat16)
    batch = Batch({name: value.bfloat16() for name, value in batch.inputs.items()}, batch.targets)
    found = make_evidence(kind, model).logits(model(batch.inputs), batch)
    assert all(logits.dtype == torch.float32 and logits.isfinite().all() for logits in found.values())


class TestZeroedInput:
    def model(self):
        torch.manual_seed(0)
        encoders = {name: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)) for name in ("audio", "image")}
        return JointFusion(encoders, 3, feature_sizes={"audio": 6, "image": 6})

    def test_moves_no_batch_statistics_no_random_numbers_and_no_mode(self):
        model, (_, batch, _) = self.model(), example(dtype=torch.float32)
        model.encoders["audio"][1].eval()  # frozen, and to stay so
        prediction = model(batch.inputs)
        before, modes = copy.deepcopy(model.state_dict()), [part.training for part in model.modules()]
        state = torch.get_rng_state()
        make_evidence("zeroed-input", model).logits(prediction, batch)
        torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
        assert [part.training for part in model.modules()] == modes
        assert torch.equal(torch.get_rng_state(), state)

    def test_puts_the_mode_back_when_the_model_fails(self):
        model, (_, batch, _) = self.model(), example(dtype=torch.float32)
        prediction = model(batch.inputs)
        model.encoders["image"] = nn.Linear(1, 6)
        with pytest.raises(RuntimeError):
            make_evidence("zeroed-input", model).logits(prediction, batch)
        assert all(part.training for part in model.modules())

    def test_the_encoders_of_the_others_still_run(self):
        model, (_, batch, _) = self.model().eval(), example(dtype=torch.float32)
        prediction = model(batch.inputs)
        by_input = make_evidence("zeroed-input", model).logits(prediction, batch)["audio"]
        constant = model.encoders["image"](torch.zeros(20, 5))
        torch.testing.assert_close(by_input, model.fuse({"audio": prediction.features["audio"], "image": constant}).detach())

    def test_lengths_stay(self):
        model = JointFusion({"motion": SequenceEncoder(2), "image": MLP(5)}, 3).eval()
        motion = Sequences.pad([torch.ones(3, 2), torch.ones(5, 2)])
        inputs = {"motion": motion, "image": torch.ones(2, 5)}
        found = make_evidence("zeroed-input", model).logits(model(inputs), Batch(inputs, torch.tensor([0, 1])))
        still = Sequences(torch.zeros_like(motion.values), motion.lengths)
        torch.testing.assert_close(found["image"], model({**inputs, "motion": still}).multimodal.detach())

    def test_of_a_text_the_tokens_are_zero_and_its_mask_stays(self):
        seen = []

        class Text(nn.Module):
            out_features = 4

            def __init__(self):
                super().__init__()
                self.embedding = nn.Embedding(9, 4)

            def forward(self, value):
                seen.append({name: tensor.clone() for name, tensor in value.items()})
                return self.embedding(value["input_ids"]).mean(dim=1)

        model = JointFusion({"text": Text(), "image": MLP(5)}, 3)
        text = {"input_ids": torch.tensor([[5, 6], [7, 8]]), "attention_mask": torch.tensor([[1, 1], [1, 0]])}
        inputs = {"text": text, "image": torch.ones(2, 5)}
        prediction = model(inputs)
        make_evidence("zeroed-input", model).logits(prediction, Batch(inputs, torch.tensor([0, 1])))
        assert seen[-1]["input_ids"].abs().sum() == 0
        assert torch.equal(seen[-1]["attention_mask"], text["attention_mask"])

    def test_values_that_cannot_be_told_from_lengths_are_refused(self):
        class Bag(nn.Module):
            out_features = 4

            def forward(self, value):
                return value[0].float()

        model = JointFusion({"text": Bag(), "image": MLP(5)}, 3)
        inputs = {"text": (torch.ones(2, 4, dtype=torch.int64), torch.ones(2, dtype=torch.int64)), "image": torch.ones(2, 5)}
        with pytest.raises(InputError, match="cannot tell values from lengths in the input of 'text'") as caught:
            make_evidence("zeroed-input", model).logits(model(inputs), Batch(inputs, torch.tensor([0, 1])))
        assert "\n" not in str(caught.value)


def test_zeroed_features_move_nothing_in_a_fusion_with_a_state():
    class Fusion(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))

        def forward(self, features):
            return self.layers(torch.cat([features["audio"], features["image"]], dim=1))

    model = JointFusion({name: MLP(5, out_features=6) for name in ("audio", "image")}, 3, Fusion())
    _, batch, _ = example(dtype=torch.float32)
    prediction = model(batch.inputs)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = make_evidence("zeroed-feature", model).logits(prediction, batch)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training for part in model.modules())
    alone = model.eval().fuse({"audio": prediction.features["audio"], "image": torch.zeros(20, 6)})
    torch.testing.assert_close(found["audio"], alone.detach())


class TestPrototype:
    def batch(self, targets, audio, image=0.0, present=None):
        """Features are the inputs; the last argument masks the audio."""
        values = {"audio": torch.as_tensor(audio, dtype=torch.float32), "image": torch.full((len(targets), 2), image)}
        masks = {} if present is None else {"audio": torch.tensor(present)}
        return Batch(values, torch.tensor(targets), masks)

    def evidence(self):
        class Given(nn.Identity):
            out_features = 2

        self.model = JointFusion({"audio": Given(), "image": Given()}, 3)
        return make_evidence("prototype", self.model)

    def ask(self, evidence, batch):
        return evidence.logits(self.model(batch.inputs, batch.present), batch)["audio"]

    def test_counts_what_it_saw_so_far_in_the_first_epoch(self):
        evidence = self.evidence()
        self.ask(evidence, self.batch([0, 0], [[0, 0], [2, 0]]))
        found = self.ask(evidence, self.batch([0, 1], [[4, 0], [2, 3]]))
        # class 0: mean (2, 0) of three samples; class 1: (2, 3), itself; class 2: nowhere
        torch.testing.assert_close(found, torch.tensor([[-2.0, -(13**0.5), -torch.inf], [-3.0, 0.0, -torch.inf]]))

    def test_measures_against_the_epoch_before_afterwards(self):
        evidence = self.evidence()
        evidence.epoch_start()
        self.ask(evidence, self.batch([0, 1], [[0, 0], [2, 0]]))
        self.ask(evidence, self.batch([1], [[4, 0]]))
        evidence.epoch_end()
        evidence.epoch_start()
        for _ in range(2):  # what is seen now makes no difference now
            found = self.ask(evidence, self.batch([0, 2], [[0, 4], [1, 1]]))
            torch.testing.assert_close(found[0], torch.tensor([-4.0, -5.0, -torch.inf]))
        evidence.epoch_end()
        found = self.ask(evidence, self.batch([0], [[0, 0]]))
        torch.testing.assert_close(found[0], torch.tensor([-4.0, -torch.inf, -(2**0.5)]))

    def test_an_epoch_whose_end_nobody_told_counts_all_the_same(self):
        evidence = self.evidence()
        evidence.epoch_start()
        self.ask(evidence, self.batch([0], [[0, 0]]))
        evidence.epoch_start()
        found = self.ask(evidence, self.batch([1], [[3, 4]]))
        torch.testing.assert_close(found[0], torch.tensor([-5.0, -torch.inf, -torch.inf]))

    def test_samples_without_the_modality_do_not_count(self):
        evidence = self.evidence()
        nan = float("nan")
        found = self.ask(evidence, self.batch([0, 0, 1], [[nan, nan], [3, 4], [nan, nan]], present=[False, True, False]))
        torch.testing.assert_close(found[1], torch.tensor([0.0, -torch.inf, -torch.inf]))

    def test_nor_does_what_a_model_of_ones_own_puts_into_their_features(self):
        evidence = self.evidence()
        batch = self.batch([0, 0], [[9, 9], [3, 4]], present=[False, True])
        features = {"audio": torch.tensor([[float("nan")] * 2, [3.0, 4.0]]), "image": torch.zeros(2, 2)}
        found = evidence.logits(Prediction(torch.zeros(2, 3), {}, features), batch)["audio"]
        torch.testing.assert_close(found[1], torch.tensor([0.0, -torch.inf, -torch.inf]))

    def test_without_any_prototype_all_classes_are_alike(self):
        evidence = self.evidence()
        found = self.ask(evidence, self.batch([0, 1], [[1, 1], [2, 2]], present=[False, False]))
        assert torch.equal(found, torch.zeros(2, 3))

    def test_a_modality_that_an_epoch_never_saw_keeps_its_prototypes(self):
        evidence = self.evidence()
        self.ask(evidence, self.batch([0], [[0, 0]]))
        evidence.epoch_end()
        image = Batch({"image": torch.ones(1, 2)}, torch.tensor([0]))
        evidence.logits(self.model(image.inputs), image)
        evidence.epoch_end()
        assert self.ask(evidence, self.batch([1], [[3, 4]]))[0, 0] == -5

    @pytest.mark.parametrize("finished", [True, False])
    def test_goes_on_from_its_state(self, finished):
        first, second = self.evidence(), self.evidence()
        for targets in ([0, 1], [2, 2]):
            self.ask(first, self.batch(targets, [[0, 1], [2, 5]]))
        if finished:
            first.epoch_end()
            self.ask(first, self.batch([1], [[7, 7]]))
        file = io.BytesIO()
        torch.save(first.state_dict(), file)
        self.ask(first, self.batch([0], [[-9, 2]]))  # does not reach into the state that was saved
        file.seek(0)
        second.load_state_dict(torch.load(file, weights_only=True))
        self.ask(second, self.batch([0], [[-9, 2]]))
        for evidence in (first, second):
            evidence.epoch_end()
        batch = self.batch([0, 1], [[1, 2], [3, 4]])
        assert torch.equal(self.ask(first, batch), self.ask(second, batch))

    @pytest.mark.parametrize("state", [{}, {"sums": {}}, {"sums": {}, "earlier": 3}, {"sums": {"audio": 1}, "earlier": {}}])
    def test_refuses_a_state_that_is_not_its_own_and_keeps_what_it_has(self, state):
        evidence = self.evidence()
        self.ask(evidence, self.batch([0], [[0, 0]]))
        with pytest.raises(InputError, match="the state of evidence = 'prototype' holds"):
            evidence.load_state_dict(state)
        assert self.ask(evidence, self.batch([1], [[3, 4]]))[0, 0] == -5

    @pytest.mark.parametrize("targets", [torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, 3, dtype=torch.int64)])
    def test_needs_class_numbers(self, targets):
        evidence = self.evidence()
        batch = self.batch([0, 1], [[0, 0], [1, 1]])
        with pytest.raises(InputError, match=r"needs class numbers \[batch\] as targets and is given torch\..* choose 'head'"):
            evidence.logits(self.model(batch.inputs), Batch(batch.inputs, targets))

    @pytest.mark.slow
    def test_the_sums_of_all_processes_count(self, tmp_path):
        script = tmp_path / "two.py"
        script.write_text(PROCESSES)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
        assert done.returncode == 0, done.stderr[-4000:]
        first, second = torch.load(tmp_path / "0.pt"), torch.load(tmp_path / "1.pt")
        torch.testing.assert_close(first, second, rtol=0, atol=0)
        # class 0: (0, 0) here and (6, 8) there; class 1: the second process alone; the image of the second process alone
        torch.testing.assert_close(first["logits"]["audio"], torch.tensor([[-5.0, -10.0, -torch.inf]]))
        assert first["logits"]["image"][0, 1] == -10


PROCESSES = """
import sys
import torch
from torch import distributed, nn
from equimodal.data import Batch
from equimodal.methods.evidence import make_evidence
from equimodal.nn import JointFusion

class Given(nn.Identity):
    out_features = 2

distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(0)
model = JointFusion({"audio": Given(), "image": Given()}, 3)
evidence = make_evidence("prototype", model)
evidence.epoch_start()
audio = torch.tensor([[[0.0, 0.0]], [[6.0, 8.0], [6.0, 8.0]]][rank])
inputs = {"audio": audio} if rank == 0 else {"audio": audio, "image": audio}
batch = Batch(inputs, torch.tensor([[0], [0, 1]][rank]))
evidence.logits(model(batch.inputs), batch)
evidence.epoch_end()
state = evidence.state_dict()
evidence.epoch_start()
probe = Batch({"audio": torch.zeros(1, 2), "image": torch.zeros(1, 2)}, torch.tensor([0]))
torch.save({"state": state, "logits": evidence.logits(model(probe.inputs), probe)}, f"{sys.argv[1]}/{rank}.pt")
distributed.destroy_process_group()
"""


class Own(nn.Module):
    """A model of one's own: two linear encoders, and whatever else it is given."""

    modalities = ("audio", "image")

    def __init__(self, features=True):
        super().__init__()
        self.audio, self.image, self.output = nn.Linear(5, 3), nn.Linear(5, 3), nn.Linear(3, 3)
        self.features = features

    def forward(self, inputs):
        features = {"audio": self.audio(inputs["audio"]), "image": self.image(inputs["image"])}
        return Prediction(self.output(features["audio"] * features["image"]), dict(features), features if self.features else {})


class TestAModelOfOnesOwn:
    def ask(self, kind, model):
        _, batch, _ = example(dtype=torch.float32)
        return make_evidence(kind, model).logits(model(batch.inputs), batch)

    @pytest.mark.parametrize("kind", ANY_MODEL)
    def test_needs_only_its_prediction_for_two_kinds(self, kind):
        assert {name: logits.shape for name, logits in self.ask(kind, Own(features=False)).items()} == {"audio": (20, 3), "image": (20, 3)}

    def test_needs_features_for_prototypes(self):
        assert list(self.ask("prototype", Own())) == ["audio", "image"]

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("slice", r"evidence = 'slice': Own has no method contributions\(features\), .*; choose 'zeroed-input', 'head' or 'prototype'"),
            ("zeroed-feature", r"evidence = 'zeroed-feature': Own has no method fuse\(features\); choose 'zeroed-input', 'head' or 'pro"),
            ("shared-head", r"evidence = 'shared-head': the fusion of Own is not 'sum'.*; choose 'zeroed-input', 'head' or 'prototype'"),
        ],
    )
    def test_is_told_at_once_what_it_lacks(self, kind, message):
        with pytest.raises(InputError, match=message) as caught:
            make_evidence(kind, Own())
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("kind", ["slice", "zeroed-feature", "prototype"])
    def test_without_features_is_told_to_return_them(self, kind):
        class Capable(Own):
            def fuse(self, features):
                return self.output(features["audio"] * features["image"])

            def contributions(self, features):
                return features

        with pytest.raises(InputError, match=f"evidence = '{kind}' needs the features and Capable returns none: give them as the third"):
            self.ask(kind, Capable(features=False))
        assert list(self.ask(kind, Capable())) == ["audio", "image"]


@pytest.mark.parametrize(
    ("fusion", "kind", "message"),
    [
        ("concat", "shared-head", r"the fusion of JointFusion is not 'sum'.*; choose 'slice', .* or 'prototype'"),
        (nn.Identity(), "slice", r"the fusion Identity cannot be sliced.*; choose 'zeroed-feature', 'zeroed-input', 'head' or 'prototype'"),
    ],
)
def test_a_fusion_that_does_not_suit_is_refused_at_once(fusion, kind, message):
    model = JointFusion({"audio": MLP(5), "image": MLP(5)}, 3, fusion)
    with pytest.raises(InputError, match=message):
        make_evidence(kind, model)


def test_an_unknown_kind_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"evidence = 'heads' is unknown: did you mean 'head'\?"):
        make_evidence("heads", Own())
    with pytest.raises(InputError, match="evidence = None is unknown: known: head, "):
        check_evidence(None)
    assert check_evidence("slice") is None


@pytest.mark.parametrize("kind", [kind for kind in EVIDENCE if kind != "prototype"])
def test_has_no_state_but_for_prototypes(kind):
    evidence = make_evidence(kind, example()[0])
    evidence.epoch_start()
    evidence.epoch_end()
    assert evidence.state_dict() == {}
    evidence.load_state_dict({})
    with pytest.raises(InputError, match=f"evidence = '{kind}' has no state and is given one with sums"):
        evidence.load_state_dict({"sums": {}})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", EVIDENCE)
def test_waits_for_nothing_on_a_gpu(kind):
    model, batch, _ = example(dtype=torch.float32)
    model, batch = model.cuda(), batch.to(torch.device("cuda"))
    prediction = model(batch.inputs)
    evidence = make_evidence(kind, model)
    evidence.logits(prediction, batch)  # libraries load on first use
    evidence.epoch_end()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = evidence.logits(prediction, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for name, logits in found.items():
        torch.testing.assert_close(logits, expected(kind, model, batch, prediction, name).detach())
