"""What ``torchrun`` starts: the same training in two processes, by Accelerate, Fabric or torch itself."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed
from torch.utils.data import DataLoader

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from adapters.plain import EPOCHS, adam, head_scores, parts, schedule_of, weights
from equimodal import Balancer, HeadScores, InputError
from equimodal.methods.miles import MILESMethod
from equimodal.methods.ogm import OGM, OGMGE

METHODS = {
    "miles": lambda: MILESMethod(tau=0.5),
    "ogm": lambda: OGM(alpha=0.8),
    "miles+ogm-ge": lambda: [MILESMethod(tau=0.5), OGMGE(alpha=0.8)],
}


def train(method, model, batches, optimizer, schedule, balancer, scores, backward, clip=lambda: None):
    logs = []
    for epoch in range(1, EPOCHS + 1):
        model.train()
        balancer.epoch_start(epoch, epochs=EPOCHS)
        for inputs, targets in batches:
            backward(balancer.loss(model(inputs), targets))
            balancer.before_step()
            clip()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        balancer.epoch_end(scores())
        logs.append(balancer.logs())
    return logs


def built(method, batch_size=8):
    model, training, val = parts(batch_size=batch_size)
    torch.manual_seed(0)
    balancer = Balancer(METHODS[method]())
    return balancer, balancer.build(model), training, val


def with_accelerate(method, split_batches):
    from accelerate import Accelerator, DataLoaderConfiguration

    configuration = DataLoaderConfiguration(split_batches=split_batches, even_batches=False)
    accelerator = Accelerator(cpu=True, dataloader_config=configuration)
    # By default every process takes whole batches in turn, so that batches of 4 make 8 of both.
    balancer, model, training, val = built(method, 8 if split_batches else 4)
    plain_val = val
    optimizer = adam(model)
    model, optimizer, training, val, schedule = accelerator.prepare(model, optimizer, training, val, schedule_of(optimizer))
    balancer.attach(optimizer)
    inner = accelerator.unwrap_model(model)
    counts = []

    def scores():
        counter = head_scores(inner, val)
        counts.append(counter.counts()["multimodal"])
        return counter.compute()

    logs = train(method, model, training, optimizer, schedule, balancer, scores, accelerator.backward)
    found = {"logs": logs, "weights": weights(inner), "counts": counts}

    # The default repeats samples, so that all processes have as many; what was gathered has been cleaned of them.
    accelerator.even_batches = True
    even = accelerator.prepare_data_loader(DataLoader(plain_val.dataset, batch_size=plain_val.batch_size))
    found["even_batches"] = head_scores(inner, even).counts()["multimodal"]
    gathered = HeadScores(("audio", "image"))
    with torch.no_grad():
        for inputs, targets in even:
            prediction = inner(inputs)
            logits = {"multimodal": prediction.multimodal, **prediction.unimodal}
            gathered.update(*accelerator.gather_for_metrics((logits, targets)))
    found["gathered"] = (gathered.compute(), head_scores(inner, val).compute())
    accelerator.register_for_checkpointing(balancer)
    return found, accelerator


def with_fabric(method):
    from lightning.fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    balancer, model, training, val = built(method, 4)
    optimizer = adam(model)
    schedule = schedule_of(optimizer)
    balancer.attach(optimizer)
    inner = model
    model, optimizer = fabric.setup(model, optimizer)
    rank = fabric.global_rank
    shared = [batch for index, batch in enumerate(training) if index % 2 == rank]
    mine = [batch for index, batch in enumerate(val) if index % 2 == rank]
    logs = train(method, model, shared, optimizer, schedule, balancer, lambda: head_scores(inner, mine).compute(), fabric.backward)
    found = {"logs": logs, "weights": weights(inner), "balancer": balancer.state_dict()}
    return found, fabric, {"model": model, "optimizer": optimizer, "balancer": balancer}


def with_torch(method):
    balancer, model, training, val = built(method, 4)
    optimizer = adam(model)
    schedule = schedule_of(optimizer)
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
    balancer.attach(optimizer)
    rank = distributed.get_rank()
    shared = [batch for index, batch in enumerate(training) if index % 2 == rank]
    mine = [batch for index, batch in enumerate(val) if index % 2 == rank]
    logs = train(method, wrapped, shared, optimizer, schedule, balancer, lambda: head_scores(model, mine).compute(), torch.Tensor.backward)
    found = {"logs": logs, "weights": weights(model)}
    try:
        balancer.epoch_end({"multimodal": 0.9, "audio": 0.5 + 0.1 * rank, "image": 0.4})
    except InputError as error:
        found["unequal"] = str(error)
    return found


def main(harness, folder):
    if harness == "accelerate":
        for name, split_batches in (("miles", False), ("miles", True), ("miles+ogm-ge", True)):
            found, accelerator = with_accelerate(name, split_batches)
            accelerator.save_state(folder / f"state {name} {split_batches}")
            rank = accelerator.process_index
            torch.save(found, folder / f"{name} {split_batches}.{rank}.pt")
    elif harness == "fabric":
        for name in ("miles", "miles+ogm-ge"):
            found, fabric, state = with_fabric(name)
            fabric.save(folder / f"state {name}.pt", state)
            torch.save(found, folder / f"{name}.{fabric.global_rank}.pt")
    else:
        distributed.init_process_group("gloo")
        for name in METHODS:
            torch.save(with_torch(name), folder / f"{name}.{distributed.get_rank()}.pt")
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
