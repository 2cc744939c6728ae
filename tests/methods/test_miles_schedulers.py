"""MILES beside everything else that touches learning rates: torch's schedulers, optimizers, loss scaling, checkpoints, copies.

The invariant: the trajectory of ``group["lr"]`` is bit-identical with and without MILES, and each update uses that rate times the
multiplier.
"""

import copy
import inspect
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler, swa_utils
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from equimodal import MILES, InputError
from equimodal.groups import MODALITY_KEY, MULTIPLIER_KEY, effective_rates

RATES = {"multimodal": 0.1, "audio": 0.05, "image": 0.2}
NO_SIGNAL = {"multimodal": 0.0, "audio": 0.0, "image": 0.0}
SLOW_AUDIO = {"multimodal": 0.9, "audio": 0.8, "image": 0.4}
SLOW_IMAGE = {"multimodal": 0.9, "audio": 0.4, "image": 0.8}
BALANCED = {"multimodal": 0.9, "audio": 0.6, "image": 0.6}
TRACE = [SLOW_AUDIO, SLOW_AUDIO, SLOW_IMAGE, NO_SIGNAL, BALANCED, SLOW_IMAGE, SLOW_IMAGE, BALANCED, SLOW_AUDIO, SLOW_IMAGE]
"""Ends with both modalities slowed; passes through every combination of multipliers."""
STEPS_PER_EPOCH = 3
MU = 0.3


def make_optimizer(kind=torch.optim.SGD, dtype=torch.float64, **options):
    groups = [{"params": [nn.Parameter(torch.zeros(3, 2, dtype=dtype))], MODALITY_KEY: name, "lr": rate} for name, rate in RATES.items()]
    return kind(groups, **options)


def weights(optimizer):
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def rates(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def backward(optimizer, step):
    """Give every parameter a gradient that depends on its value and the step."""
    for number, parameter in enumerate(weights(optimizer)):
        ramp = torch.linspace(-1.0, 2.0, parameter.numel(), dtype=parameter.dtype).view_as(parameter)
        parameter.grad = 0.5 * parameter.detach() + ramp * (0.3 + 0.1 * number + 0.05 * step)


# --- every scheduler

SCHEDULERS = {
    "LambdaLR": [
        lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step),
        lambda optimizer: lr_scheduler.LambdaLR(optimizer, [lambda step: 1.0, lambda step: 1 / (1 + step), lambda step: min(1, step / 8)]),
    ],
    "MultiplicativeLR": [lambda optimizer: lr_scheduler.MultiplicativeLR(optimizer, lambda step: 0.95)],
    "StepLR": [lambda optimizer: lr_scheduler.StepLR(optimizer, 4, 0.5)],
    "MultiStepLR": [lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [3, 11, 12], 0.3)],
    "ConstantLR": [lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.25, 7)],
    "LinearLR": [lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 9)],
    "ExponentialLR": [lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.93)],
    "SequentialLR": [
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer, [lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 5), lr_scheduler.CosineAnnealingLR(optimizer, 12, 0.01)], [5]
        ),
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.ConstantLR(optimizer, 0.5, 4),
                lr_scheduler.ExponentialLR(optimizer, 0.9),
                lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
            ],
            [4, 13],
        ),
    ],
    "PolynomialLR": [lambda optimizer: lr_scheduler.PolynomialLR(optimizer, 20, 2.0)],
    "CosineAnnealingLR": [
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 40),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 7, eta_min=0.02),  # runs past T_max
    ],
    "ChainedScheduler": [
        lambda optimizer: lr_scheduler.ChainedScheduler(
            [lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 5), lr_scheduler.ExponentialLR(optimizer, 0.95)], optimizer
        )
    ],
    "ReduceLROnPlateau": [
        lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1),
        lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, min_lr=[0.02, 0.03, 0.04], eps=0.005),
    ],
    "CyclicLR": [
        lambda optimizer, mode=mode: lr_scheduler.CyclicLR(
            optimizer, [0.01, 0.02, 0.03], [0.1, 0.05, 0.2], 4, 3, mode=mode, gamma=0.95, cycle_momentum=False
        )
        for mode in ("triangular", "triangular2", "exp_range")
    ],
    "CosineAnnealingWarmRestarts": [lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 4, 2, 0.01)],
    "OneCycleLR": [
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, [0.1, 0.05, 0.2], total_steps=40, cycle_momentum=False),
        lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer, 0.1, total_steps=40, anneal_strategy="linear", three_phase=True, cycle_momentum=False
        ),
    ],
    "SWALR": [lambda optimizer: swa_utils.SWALR(optimizer, 0.03, 5)],
}
"""How to construct each scheduler of torch, in one or more ways; SWALR stands in another module than the rest."""

ABSTRACT = (LRScheduler, lr_scheduler._LRScheduler)


def torch_schedulers():
    """Return the names of all schedulers that this version of torch has."""
    found = [value for module in (lr_scheduler, swa_utils) for value in vars(module).values() if inspect.isclass(value)]
    return sorted({kind.__name__ for kind in found if issubclass(kind, (LRScheduler, ReduceLROnPlateau)) and kind not in ABSTRACT})


def variants():
    for name in torch_schedulers():
        for number, make in enumerate(SCHEDULERS.get(name, [None])):
            yield pytest.param(name, make, id=f"{name}-{number}")


every_scheduler = pytest.mark.parametrize(("name", "make"), list(variants()))


def construct(name, make, optimizer):
    assert make is not None, f"torch has a scheduler {name} that is not tested: add its constructor to SCHEDULERS in {__file__}"
    scheduler = make(optimizer)
    assert type(scheduler).__name__ == name
    return scheduler


def tick(scheduler, step):
    """Step a scheduler; ReduceLROnPlateau gets a loss that improves, then stays, then improves."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step([1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8][step % 8])
    else:
        scheduler.step()


def test_the_enumeration_sees_torchs_schedulers():
    names = torch_schedulers()
    assert {"LambdaLR", "SequentialLR", "ReduceLROnPlateau", "OneCycleLR", "SWALR"} <= set(names)
    assert len(names) >= 16
    assert not set(SCHEDULERS) - set(names), "an entry of SCHEDULERS is no scheduler of this version of torch"


def run(name, make, attached):
    """Train with a scheduler, MILES attached ``"before"`` or ``"after"`` it or not at all; return all rates, and check every update."""
    optimizer = make_optimizer()
    miles = MILES(optimizer, mu=MU) if attached == "before" else None
    scheduler = construct(name, make, optimizer)
    if attached == "after":
        miles = MILES(optimizer, mu=MU)
    trajectory = [rates(optimizer)]
    for step in range(STEPS_PER_EPOCH * len(TRACE)):
        for parameter in weights(optimizer):
            parameter.data.zero_()
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        multipliers = [1.0] * 3 if miles is None else [1.0, *miles.multipliers.values()]
        expected = [rate * multiplier for rate, multiplier in zip(trajectory[-1], multipliers, strict=True)]
        assert [parameter.unique().tolist() for parameter in weights(optimizer)] == [[0.0 - rate] for rate in expected]
        if miles is not None:
            assert miles.get_last_lr() == expected
        assert rates(optimizer) == trajectory[-1]
        tick(scheduler, step)
        trajectory.append(rates(optimizer))
        assert [float(rate) for rate in scheduler.get_last_lr()] == trajectory[-1]
        if miles is not None and step % STEPS_PER_EPOCH == STEPS_PER_EPOCH - 1:
            miles.step(TRACE[step // STEPS_PER_EPOCH])
    if miles is not None:
        assert {tuple(record["multipliers"].values()) for record in miles.history} == {(1, 1), (MU, 1), (1, MU), (MU, MU)}
    return trajectory, {key: value for key, value in scheduler.state_dict().items() if not key.startswith("_") and key != "lr_lambdas"}


@every_scheduler
def test_rates_are_bit_identical_with_and_without_miles_and_each_update_is_rate_times_multiplier(name, make):
    plain, plain_state = run(name, make, None)
    assert len(set(map(tuple, plain))) > 1  # the scheduler did something
    for attached in ("before", "after"):
        trajectory, state = run(name, make, attached)
        assert trajectory == plain
        assert str(state) == str(plain_state)


class Training:
    """An optimizer, a scheduler and MILES, trained step by step; saved and loaded in any order."""

    def __init__(self, name, make, kind=torch.optim.AdamW):
        self.optimizer = make_optimizer(kind)
        self.scheduler = construct(name, make, self.optimizer)
        self.miles = MILES(self.optimizer, mu=MU, smoothing=0.2)

    def train(self, first, last):
        for step in range(first, last):
            backward(self.optimizer, step)
            self.optimizer.step()
            tick(self.scheduler, step)
            if step % STEPS_PER_EPOCH == STEPS_PER_EPOCH - 1:
                self.miles.step(TRACE[step // STEPS_PER_EPOCH])
        return self

    def save(self, path):
        parts = {name: getattr(self, name).state_dict() for name in ("optimizer", "scheduler", "miles")}
        torch.save({**parts, "weights": [parameter.detach() for parameter in weights(self.optimizer)]}, path)

    def load(self, path, order):
        state = torch.load(path, weights_only=True)
        for parameter, saved in zip(weights(self.optimizer), state["weights"], strict=True):
            parameter.data.copy_(saved)
        for part in order:
            getattr(self, part).load_state_dict(state[part])
        return self

    def everything(self):
        return str((self.optimizer.state_dict(), self.miles.state_dict(), self.miles.get_last_lr(), weights(self.optimizer)))


ORDERS = list(itertools.permutations(("optimizer", "scheduler", "miles")))


@every_scheduler
def test_resuming_mid_run_is_never_having_stopped_whatever_is_loaded_first(name, make, tmp_path):
    stop, end = 8, 24  # between two epochs' ends, with audio slowed
    whole = Training(name, make).train(0, end)
    part = Training(name, make).train(0, stop)
    part.save(tmp_path / "state.pt")
    assert part.miles.get_last_lr()[1] != rates(part.optimizer)[1]
    for order in ORDERS:
        resumed = Training(name, make).load(tmp_path / "state.pt", order)
        assert resumed.miles.get_last_lr() == part.miles.get_last_lr()
        assert resumed.train(stop, end).everything() == whole.everything()


def test_a_scheduler_that_moves_a_shared_tensor_in_place_moves_no_multiplied_rate():
    shared = torch.tensor(0.5, dtype=torch.float64)
    optimizer = make_optimizer(foreach=False)
    for group in optimizer.param_groups:
        group["lr"] = shared
    miles = MILES(optimizer, mu=MU)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    miles.step(SLOW_AUDIO)
    for step in range(3):
        logged = miles.get_last_lr()
        before = [float(rate) for rate in logged]
        assert before == [float(shared), float(shared * MU), float(shared)]
        for parameter in weights(optimizer):
            parameter.data.zero_()
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        assert [-parameter[0, 0].item() for parameter in weights(optimizer)] == before
        assert all(group["lr"] is shared for group in optimizer.param_groups)
        value = shared.item()
        scheduler.step()
        assert shared.item() == value * 0.5, step
        assert [float(rate) for rate in logged] == before
    assert effective_rates(optimizer) == {"multimodal": shared.item(), "audio": float(shared * MU), "image": shared.item()}


# --- every optimizer

NOT_HERE = {"LBFGS", "Rprop", "SparseAdam"}  # of one group, refused, and for sparse gradients
VARIANTS = {
    "SGD": [{"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, {"foreach": True}, {"fused": True}],
    "Adam": [{"foreach": True}, {"fused": True}, {"amsgrad": True, "weight_decay": 0.1}],
    "AdamW": [{"foreach": True}, {"foreach": False}, {"fused": True}],
    "Adagrad": [{"foreach": True}, {"fused": True}],
    "RMSprop": [{"momentum": 0.9, "centered": True}],
}


def optimizers():
    for name, kind in sorted(vars(torch.optim).items()):
        if inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer and name not in NOT_HERE:
            for options in [{}, *VARIANTS.get(name, [])]:
                yield pytest.param(kind, options, id="-".join([name, *options]))


every_optimizer = pytest.mark.parametrize(("kind", "options"), list(optimizers()))


@every_optimizer
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_training_equals_training_at_the_multiplied_rates(kind, options, dtype):
    """Against the same optimizer whose rates are set by hand; decoupled weight decay scales along in both."""
    with_miles, by_hand = make_optimizer(kind, dtype, **options), make_optimizer(kind, dtype, **options)
    miles = MILES(with_miles, mu=MU)
    for step in range(9):
        for optimizer in (with_miles, by_hand):
            backward(optimizer, step)
            optimizer.step()
        if step % STEPS_PER_EPOCH == STEPS_PER_EPOCH - 1:
            miles.step(TRACE[step // STEPS_PER_EPOCH])
            for group in by_hand.param_groups:
                group["lr"] = RATES[group[MODALITY_KEY]] * miles.multipliers.get(group[MODALITY_KEY], 1.0)
    assert miles.multipliers == {"audio": MU, "image": MU}
    assert rates(with_miles) == list(RATES.values())
    assert all(torch.equal(one, other) for one, other in zip(weights(with_miles), weights(by_hand), strict=True))
    assert str(with_miles.state_dict()["state"]) == str(by_hand.state_dict()["state"])


@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": False}], ids=str)
def test_tensor_rates_give_the_same_training_as_numbers(options):
    # With foreach torch itself refuses tensors, unless capturable, which needs an accelerator.
    optimizers = [make_optimizer(torch.optim.AdamW, **options) for _ in range(2)]
    for group in optimizers[0].param_groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
    schedulers = [MILES(optimizer, mu=MU) for optimizer in optimizers]
    for step in range(6):
        for optimizer, miles in zip(optimizers, schedulers, strict=True):
            backward(optimizer, step)
            optimizer.step()
            miles.step(TRACE[step])
        torch.testing.assert_close(*map(weights, optimizers), rtol=1e-12, atol=0.0)
    assert [float(rate) for rate in schedulers[0].get_last_lr()] == schedulers[1].get_last_lr()


def test_decoupled_weight_decay_scales_along():
    optimizer = make_optimizer(torch.optim.AdamW, weight_decay=0.5)
    MILES(optimizer, mu=MU).step(SLOW_AUDIO)
    for parameter in weights(optimizer):
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    expected = [1 - 0.1 * 0.5, 1 - 0.05 * MU * 0.5, 1 - 0.2 * 0.5]
    assert [parameter[0, 0].item() for parameter in weights(optimizer)] == pytest.approx(expected, rel=1e-15)


def test_a_step_skipped_by_the_loss_scaler_changes_nothing():
    optimizer = make_optimizer(dtype=torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    miles = MILES(optimizer, mu=MU)
    miles.step(SLOW_AUDIO)
    for finite in (True, False, True):
        before = [parameter.clone() for parameter in weights(optimizer)]
        optimizer.zero_grad()
        scaler.scale(sum(parameter.sum() for parameter in weights(optimizer))).backward()
        if not finite:
            weights(optimizer)[0].grad[0, 0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
        moved = [(old - parameter.detach()).mean().item() for old, parameter in zip(before, weights(optimizer), strict=True)]
        assert moved == pytest.approx([0.1, 0.05 * MU, 0.2] if finite else [0.0] * 3)
        assert rates(optimizer) == list(RATES.values())


def test_a_step_with_a_closure_computes_its_loss_once_and_steps_at_the_multiplied_rate():
    optimizer = make_optimizer()
    MILES(optimizer, mu=MU).step(SLOW_IMAGE)
    calls = []

    def closure():
        calls.append(1)
        for parameter in weights(optimizer):
            parameter.grad = torch.ones_like(parameter)
        return torch.tensor(3.0)

    assert optimizer.step(closure) == 3.0
    assert calls == [1]
    assert [-parameter[0, 0].item() for parameter in weights(optimizer)] == [0.1, 0.05, 0.2 * MU]


class Nested(torch.optim.SGD):
    """Fires the hooks twice: torch wraps this step and the one it calls."""

    def step(self, closure=None):
        return super().step(closure)


def test_an_optimizer_whose_step_calls_its_parents_step_is_multiplied_once():
    make_optimizer()  # torch wraps SGD.step at its first instance
    optimizer = make_optimizer(Nested)
    assert Nested.step.hooked
    assert torch.optim.SGD.step.hooked
    MILES(optimizer, mu=MU).step(SLOW_AUDIO)
    for parameter in weights(optimizer):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert [-parameter[0, 0].item() for parameter in weights(optimizer)] == [0.1, 0.05 * MU, 0.2]
    assert rates(optimizer) == list(RATES.values())


# --- a step that raises


class Fragile(torch.optim.SGD):
    """Raises where told to, after its hooks have run."""

    fail = False

    def step(self, closure=None):
        if self.fail:
            raise RuntimeError("out of memory")
        return super().step(closure)


@pytest.fixture
def after_a_failed_step():
    optimizer = make_optimizer(Fragile)
    miles = MILES(optimizer, mu=MU)
    miles.step(SLOW_AUDIO)
    optimizer.fail = True
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"):
            optimizer.step()
    optimizer.fail = False
    return optimizer, miles


def test_the_step_after_a_failed_one_is_multiplied_once(after_a_failed_step):
    optimizer, _ = after_a_failed_step
    for parameter in weights(optimizer):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert [-parameter[0, 0].item() for parameter in weights(optimizer)] == [0.1, 0.05 * MU, 0.2]
    assert rates(optimizer) == list(RATES.values())


@pytest.mark.parametrize(
    "use",
    [
        lambda optimizer, miles: optimizer.state_dict(),
        lambda optimizer, miles: miles.get_last_lr(),
        lambda optimizer, miles: miles.step(NO_SIGNAL),
        lambda optimizer, miles: miles.detach(),
    ],
    ids=["state_dict", "get_last_lr", "step", "detach"],
)
def test_a_failed_step_is_repaired_at_the_next_use(after_a_failed_step, use):
    optimizer, miles = after_a_failed_step
    use(optimizer, miles)
    assert rates(optimizer) == list(RATES.values())


def test_a_checkpoint_after_a_failed_step_holds_the_plain_rates(after_a_failed_step):
    optimizer, _ = after_a_failed_step
    assert [group["lr"] for group in optimizer.state_dict()["param_groups"]] == list(RATES.values())


def test_a_checkpoint_loaded_after_a_failed_step_is_taken_as_it_is(after_a_failed_step):
    optimizer, miles = after_a_failed_step
    saved = make_optimizer().state_dict()
    for group in saved["param_groups"]:
        group["lr"] = 1.0
    optimizer.load_state_dict(saved)
    assert rates(optimizer) == [1.0] * 3
    assert miles.get_last_lr() == [1.0] * 3  # the checkpoint knows no multiplier


def test_a_rate_assigned_after_a_failed_step_is_kept(after_a_failed_step):
    optimizer, miles = after_a_failed_step
    optimizer.param_groups[1]["lr"] = 0.7
    assert miles.get_last_lr() == [0.1, 0.7 * MU, 0.2]
    assert rates(optimizer) == [0.1, 0.7, 0.2]


# --- checkpoints


def test_the_optimizers_state_carries_tags_and_multipliers(tmp_path):
    optimizer = make_optimizer()
    miles = MILES(optimizer, mu=MU)
    miles.step(SLOW_AUDIO)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    saved = torch.load(tmp_path / "optimizer.pt", weights_only=True)
    assert [(group[MODALITY_KEY], group[MULTIPLIER_KEY], group["lr"]) for group in saved["param_groups"]] == [
        ("multimodal", 1.0, 0.1),
        ("audio", MU, 0.05),
        ("image", 1.0, 0.2),
    ]
    fresh = make_optimizer()
    resumed = MILES(fresh, mu=MU)
    fresh.load_state_dict(saved)
    assert resumed.multipliers == {"audio": MU, "image": 1.0}
    assert effective_rates(fresh) == {"multimodal": 0.1, "audio": 0.05 * MU, "image": 0.2}


def test_an_old_checkpoint_without_our_keys_gives_multiplier_one_and_keeps_the_tags():
    old = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(3, 2))], "lr": 1.0} for _ in RATES]).state_dict()
    assert all(MODALITY_KEY not in group for group in old["param_groups"])
    optimizer = make_optimizer()
    miles = MILES(optimizer, mu=MU)
    miles.step(SLOW_AUDIO)
    optimizer.load_state_dict(old)
    assert [group[MODALITY_KEY] for group in optimizer.param_groups] == list(RATES)
    assert [group[MULTIPLIER_KEY] for group in optimizer.param_groups] == [1.0] * 3
    assert miles.get_last_lr() == [1.0] * 3
    assert miles.multipliers == {"audio": 1.0, "image": 1.0}
    miles.step(SLOW_IMAGE)
    assert miles.get_last_lr()[2] == MU


def test_a_checkpoint_whose_groups_belong_to_other_modalities_is_refused():
    def tagged(*names):
        return torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "modality": name} for name in names], lr=0.1)

    optimizer = tagged("multimodal", "audio", "image")
    MILES(optimizer)
    before = optimizer.state_dict()
    with pytest.raises(InputError, match="belong to multimodal, image, audio, this optimizer's to multimodal, audio, image"):
        optimizer.load_state_dict(tagged("multimodal", "image", "audio").state_dict())
    assert optimizer.state_dict() == before


def test_miles_may_be_attached_after_the_optimizer_has_loaded_its_checkpoint():
    first = make_optimizer()
    miles = MILES(first, mu=MU)
    miles.step(SLOW_AUDIO)
    second = make_optimizer()
    second.load_state_dict(first.state_dict())
    resumed = MILES(second, mu=MU)
    resumed.load_state_dict(miles.state_dict())
    assert resumed.get_last_lr() == miles.get_last_lr() == [0.1, 0.05 * MU, 0.2]


@pytest.mark.parametrize("copy_of", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))], ids=["deepcopy", "pickle"])
def test_a_copied_optimizer_is_its_own_and_takes_its_own_miles(copy_of):
    optimizer = make_optimizer()
    miles = MILES(optimizer, mu=MU)
    miles.step(SLOW_AUDIO)
    twin = copy_of(optimizer)
    assert [group[MODALITY_KEY] for group in twin.param_groups] == list(RATES)
    assert rates(twin) == rates(optimizer) == list(RATES.values())
    twin_miles = MILES(twin, mu=MU)
    twin_miles.load_state_dict(miles.state_dict())
    twin_miles.step(BALANCED)
    assert twin_miles.get_last_lr() == list(RATES.values())
    assert miles.get_last_lr() == [0.1, 0.05 * MU, 0.2]
    for one in (optimizer, twin):
        for parameter in weights(one):
            parameter.grad = torch.ones_like(parameter)
        one.step()
    assert [-parameter[0, 0].item() for parameter in weights(optimizer)] == [0.1, 0.05 * MU, 0.2]
    assert [-parameter[0, 0].item() for parameter in weights(twin)] == [0.1, 0.05, 0.2]


def test_a_group_added_later_is_multiplied_by_its_tag_and_without_one_not_at_all():
    optimizer = make_optimizer()
    miles = MILES(optimizer, mu=MU)
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], MODALITY_KEY: "audio", "lr": 1.0})
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 1.0})
    miles.step(SLOW_AUDIO)
    assert miles.get_last_lr() == [0.1, 0.05 * MU, 0.2, MU, 1.0]


# --- detach


def test_detaching_restores_the_optimizer_completely():
    optimizer, untouched = make_optimizer(), make_optimizer()
    attributes = set(vars(optimizer))
    miles = MILES(optimizer, mu=MU)
    miles.step(SLOW_AUDIO)
    for one in (optimizer, untouched):
        backward(one, 0)
    optimizer.step()
    miles.detach()
    assert set(vars(optimizer)) == attributes
    hooks = [name for name in attributes if name.endswith("_hooks")]
    assert len(hooks) >= 6
    assert all(not getattr(optimizer, name) for name in hooks)
    assert [set(group) for group in optimizer.param_groups] == [set(group) for group in untouched.param_groups]
    assert rates(optimizer) == miles.get_last_lr() == list(RATES.values())
    assert miles.multipliers == {"audio": 1.0, "image": 1.0}
    for parameter in weights(optimizer):
        parameter.data.zero_()
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert [-parameter[0, 0].item() for parameter in weights(optimizer)] == list(RATES.values())
    miles.detach()  # a second time does no harm


def test_detaching_an_old_scheduler_leaves_a_new_one_alone():
    optimizer = make_optimizer()
    old = MILES(optimizer, mu=MU)
    old.detach()
    new = MILES(optimizer, mu=MU)
    new.step(SLOW_AUDIO)
    old.detach()
    assert new.get_last_lr() == [0.1, 0.05 * MU, 0.2]
    with pytest.raises(InputError, match="already multiplied by modality"):
        MILES(optimizer)
