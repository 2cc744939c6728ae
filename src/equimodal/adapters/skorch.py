"""skorch: a callback that lets a method into ``fit``, and a mixin for nets whose module returns a :class:`equimodal.Prediction`.

.. code-block:: python

    class Net(BalancedNet, NeuralNetClassifier):
        pass

    net = Net(model, criterion=CrossEntropyLoss, optimizer__param_groups=tagged(patterns), callbacks=[BalanceCallback("miles")])
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from equimodal.adapters._logged import Names, check_names, named, not_logged
from equimodal.balancer import Balancer
from equimodal.errors import InputError, require
from equimodal.groups import MODALITY_KEY, the_optimizer
from equimodal.head_scores import HeadScores
from equimodal.nn.prediction import Prediction
from equimodal.scores import MULTIMODAL

require("skorch", extra="skorch")
from skorch.callbacks import Callback  # noqa: E402
from skorch.dataset import unpack_data  # noqa: E402
from skorch.utils import to_tensor  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BalanceCallback", "BalancedNet", "tagged"]


def tagged(modalities: Mapping[str, str | Iterable[str]]) -> list[tuple[str, dict[str, str]]]:
    """Return what skorch takes as ``optimizer__param_groups``: parameters by their names, each group tagged with its modality.

    >>> tagged({"audio": "audio.*", "image": ["image.*", "image_head.*"]})
    [('audio.*', {'modality': 'audio'}),
     ('image.*', {'modality': 'image'}),
     ('image_head.*', {'modality': 'image'}),
     ('*', {'modality': 'multimodal'})]

    :param modalities: by modality, one pattern or several; what none of them matches is multimodal. Options beside the tag may be added
        to the groups, such as a learning rate.
    """
    listed = {name: (patterns,) if isinstance(patterns, str) else patterns for name, patterns in modalities.items()}
    return [(pattern, {MODALITY_KEY: name}) for name, patterns in (listed | {MULTIMODAL: ("*",)}).items() for pattern in patterns]


class BalanceCallback(Callback):  # type: ignore[misc]
    """Drives a method in a skorch net; place it after the callbacks that score, and before one that clips gradients.

    Effective rates, multipliers and utilization stand in ``net.history`` under the names of :meth:`equimodal.Balancer.logs`. The optimizer
    needs groups by modality, see :func:`tagged`. A method that decides the loss or changes gradients also needs :class:`BalancedNet`.

    :param method: as for :class:`equimodal.Balancer`, like ``task``.
    :param scores: where validation scores by head are found in ``net.history``: a pattern such as ``"valid_{}"``, or a mapping from head to
        column. By default they are counted from the predictions of a :class:`BalancedNet`.
    :param losses: the same for validation losses, which MSES looks at.
    :raises InputError: for a pattern without ``{}``; while training, for an optimizer without tags and scores that are not there.
    """

    def __init__(self, method: Any = "miles", task: Any = "single-label", scores: Names | None = None, losses: Names | None = None) -> None:
        self.method = method
        self.task = task
        self.scores = check_names("scores", scores)
        self.losses = check_names("losses", losses)

    def initialize(self) -> BalanceCallback:
        """Begin anew, with a method that knows of no other training."""
        earlier: Balancer | None = getattr(self, "balancer_", None)
        if earlier is not None:
            earlier.detach()  # a net's set_params initializes all callbacks anew, and keeps the optimizer
        self.balancer_: Balancer = Balancer(copy.deepcopy(self.method), task=self.task)
        return self

    def set_params(self, **params: Any) -> BalanceCallback:
        """Set options; another method begins anew."""
        super().set_params(**params)
        return self.initialize() if hasattr(self, "balancer_") and not params.keys().isdisjoint({"method", "task"}) else self

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if not name.endswith("_")}
        # Hooks stay behind with their optimizer: a copy attaches anew when it trains.
        return kept | ({"state_": self.balancer_.state_dict()} if hasattr(self, "balancer_") and self.balancer_.epoch else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in state.keys() - {"state_"}:
            setattr(self, name, state[name])
        self.initialize()
        if "state_" in state:
            self.balancer_.load_state_dict(state["state_"])

    def attach(self, net: Any) -> None:
        """Let the method in, unless it is there already; :class:`BalancedNet` calls this as soon as there is an optimizer."""
        optimizer = the_optimizer(net.optimizer_)
        if self.balancer_.optimizer is not optimizer:
            if self.balancer_.optimizer is not None:  # set_params made another one
                state = self.balancer_.state_dict()
                self.balancer_.detach()
                self.initialize().balancer_.load_state_dict(state)
            if self.balancer_.build(net.module_) is not net.module_:
                raise InputError(f"{self.balancer_.method.name} trains another model than the net's: give the net that part as its module")
            self.balancer_.attach(optimizer)

    def on_train_begin(self, net: Any, *_: Any, **__: Any) -> None:
        """Let the method in."""
        self.attach(net)
        self.counter_ = HeadScores(self.balancer_.modalities, task=self.balancer_.task)
        self.counted_ = False

    def on_epoch_begin(self, net: Any, *_: Any, **__: Any) -> None:
        """Begin an epoch."""
        self.balancer_.epoch_start(self.balancer_.epoch + 1, epochs=net.max_epochs)

    def on_grad_computed(self, *_: Any, training: bool = True, **__: Any) -> None:
        """Let the method change the gradients."""
        if training:
            self.balancer_.before_step()

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = True, y_pred: Any = None, **_: Any) -> None:
        """Count the predictions of validation."""
        if not training and self.scores is None:
            self.counter_.update(_prediction(y_pred), to_tensor(unpack_data(batch)[1], device=net.device))
            self.counted_ = True

    def on_epoch_end(self, net: Any, *_: Any, **__: Any) -> None:
        """Show the method the epoch's scores; end the training where it asks for it."""
        row = net.history[-1]
        if self.scores is None and not self.counted_:
            raise InputError("no validation batch was scored: give the net a train_split, or name its scores: BalanceCallback(scores=...)")
        scores = self.counter_.compute() if self.scores is None else _found(self.scores, self.counter_.heads, row)
        losses = self.counter_.losses() if self.counted_ else None
        stop = self.balancer_.epoch_end(scores, losses if self.losses is None else _found(self.losses, self.counter_.heads, row))
        for name, value in self.balancer_.logs().items():
            net.history.record(name, value)
        self.counter_.reset()
        self.counted_ = False
        if stop is not None:
            raise KeyboardInterrupt  # how skorch's own EarlyStopping ends a training


def _found(names: Names, heads: Iterable[str], row: Mapping[str, Any]) -> dict[str, float]:
    columns = named(names, heads)
    missing = [column for column in columns.values() if column not in row]
    if missing:
        raise InputError(not_logged(missing, [name for name, value in row.items() if isinstance(value, (int, float))]))
    return {head: row[column] for head, column in columns.items()}


def _prediction(output: Any) -> Prediction:
    if isinstance(output, tuple) and len(output) >= 2 and isinstance(output[1], Mapping):
        return Prediction(*output)
    raise InputError(
        f"the net's output is a {type(output).__name__}: make the net with equimodal.adapters.skorch.BalancedNet and let its module return "
        "an equimodal.Prediction; or name columns of its history: BalanceCallback(scores='valid_{}')"
    )


class BalancedNet:
    """A mixin, before ``NeuralNetClassifier`` or another net: its module takes inputs by modality and returns a Prediction.

    ``predict`` and the net's own scoring see the multimodal logits. In training the loss is the method's, in validation that of the
    criterion on the multimodal logits. ``save_params(f_balancer=...)`` and ``load_params(f_balancer=...)`` keep the method's state.
    """

    callbacks_: list[tuple[str, Any]]
    module_: Any
    device: Any

    @property
    def balancer_(self) -> Balancer:
        """The balancer of the net's :class:`BalanceCallback`."""
        return self._balance.balancer_

    @property
    def _balance(self) -> BalanceCallback:
        for _, callback in self.callbacks_:
            if isinstance(callback, BalanceCallback):
                return callback
        raise InputError("the net has no BalanceCallback, which decides its loss: add one to its callbacks")

    def initialize_optimizer(self, *given: Any, **options: Any) -> Any:
        """Make the optimizer and let the method in at once, so that what ``load_params`` loads meets a method that knows its groups."""
        super().initialize_optimizer(*given, **options)  # type: ignore[misc]
        self._balance.attach(self)
        return self

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Run the module on a batch; return a tuple that begins with the multimodal logits."""
        output = self.module_(to_tensor(x, device=self.device), **fit_params)
        return (output.multimodal, output.unimodal, output.features, output.present) if isinstance(output, Prediction) else output

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Tensor:  # noqa: N803 - skorch's name
        """Return the method's loss in training, that of the multimodal logits elsewhere."""
        if training:
            return self.balancer_.loss(_prediction(y_pred), to_tensor(y_true, device=self.device))
        loss: Tensor = super().get_loss(y_pred[0], y_true, X=X, training=training)  # type: ignore[misc]
        return loss
