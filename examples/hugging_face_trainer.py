"""MILES in the Trainer of Hugging Face transformers: a vision transformer for the picture beside an encoder for the sound.

python examples/hugging_face_trainer.py [--data FOLDER] [--epochs 10] [--seed 0]
"""

import math
import tempfile

import torch
from digits import load, options, percent
from transformers import PrinterCallback, Trainer, TrainingArguments, ViTConfig, ViTModel, set_seed
from transformers.utils.logging import disable_progress_bar

from equimodal import JointFusion
from equimodal.adapters.transformers import BalanceCallback, TrainerModel, head_metrics, trainer_optimizer
from equimodal.nn import MLP
from equimodal.nn.encoders import TransformersBackbone

MODALITIES = ("image", "audio")


def network(splits):
    """Return a network with a small vision transformer, drawn at random, and a multi-layer perceptron."""
    height = splits.train.inputs["image"].shape[-1]
    config = ViTConfig(
        image_size=height,
        patch_size=height // 4,
        num_channels=1,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
    )
    encoders = {"image": TransformersBackbone(ViTModel(config)), "audio": MLP(math.prod(splits.train.inputs["audio"].shape[1:]))}
    return JointFusion(encoders, num_outputs=10)


def rows(samples):
    """Return the samples as the Trainer wants them: mappings with a column per modality and the labels."""
    return [{**{name: value[at] for name, value in samples.inputs.items()}, "labels": samples.targets[at]} for at in range(len(samples))]


def main():
    chosen = options(__doc__, epochs=10)
    splits = load(chosen.data)
    set_seed(chosen.seed)
    torch.set_num_threads(1)
    disable_progress_bar()
    model = TrainerModel(network(splits))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=chosen.epochs,
            per_device_train_batch_size=64,
            per_device_eval_batch_size=256,
            learning_rate=3e-3,
            warmup_steps=10,
            lr_scheduler_type="cosine",
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            seed=chosen.seed,
        )
        trainer = Trainer(
            model,
            arguments,
            train_dataset=rows(splits.train),
            eval_dataset=rows(splits.val),
            compute_metrics=head_metrics(MODALITIES),
            optimizers=(trainer_optimizer(model, arguments), None),  # tagged groups; the Trainer makes its own schedule
            callbacks=[BalanceCallback("miles")],
        )
        trainer.remove_callback(PrinterCallback)  # what it would print stands in trainer.state.log_history
        trainer.train()
        history = trainer.state.log_history
        scores = [entry for entry in history if "eval_multimodal" in entry]
        rates = [entry for entry in history if "multiplier/image" in entry]
        for score, rate in zip(scores, rates, strict=True):
            heads = {name: score[f"eval_{name}"] for name in ("multimodal", *MODALITIES)}
            multipliers = ", ".join(f"{name} × {rate[f'multiplier/{name}']:g}" for name in MODALITIES)
            print(f"epoch {score['epoch']:g}: {percent(heads)}; gap {rate['utilization_gap']:.2f}; learning rates {multipliers}")
        found = trainer.evaluate(rows(splits.test), metric_key_prefix="test")
        print(f"test: {percent({name: found[f'test_{name}'] for name in ('multimodal', *MODALITIES)})}")


if __name__ == "__main__":
    main()
