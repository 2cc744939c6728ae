"""What every figure of the page shows, and what it takes for granted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from equimodal.diagnose.record import Diagnosis

__all__ = ["KIND_NAMES", "KIND_TITLES", "definition", "intervals", "valuation_meaning"]

KIND_TITLES = {"zero": "Zeros", "mean": "Mean", "permutation": "Other samples", "absent": "Told so"}
KIND_NAMES = {
    "zero": "zeros in its place",
    "mean": "the mean over samples in its place",
    "permutation": "that of other samples in its place",
    "absent": "the model told that it is absent",
}

_DEFINITIONS: dict[str, tuple[str, ...]] = {
    "heads": (
        "A head’s score is that of its predictions on the diagnosed samples; multimodal is the joint model. A probe is a new linear"
        " classifier on the frozen features of one encoder, under multimodal on all of them side by side. {probes}",
        "A head tells what the model makes of a modality, a probe what could be read from its features with straight lines: features may"
        " hold more than a probe finds. A probe far above its head points to a head, not an encoder, that learned too little.",
    ),
    "utilization": (
        "The conditional utilization rate of a modality is what the joint score loses when only the heads of the others are left, relative"
        " to the joint score (Eq. 4 of MILES): for two modalities u(audio) = (joint − image) / joint. The gap δ is the difference between"
        " the largest and the smallest rate (Eq. 5).",
        "The rates compare heads, not the joint model with a part of it taken out: that is what the next section does. They need a joint"
        " score above zero. A rate below zero says that another head alone does better than the joint model.",
    ),
    "ablations": (
        "The joint model’s score minus its score without the modality, on the same samples; positive where the modality helps. What stands"
        " in its place: {kinds}.{donors} {where}",
        "No way to leave a modality out is right for all ends. Zeros may be something that the model never saw; the mean is nearer to what"
        " it knows, yet no sample looks like it; another sample’s modality is realistic but speaks for another class, so that its loss also"
        " counts how much the model is misled. Where they agree, the answer does not hang on the choice.",
    ),
    "shapley": (
        "A modality’s Shapley value is its share in the joint score above the score with every modality ablated: the mean, over all orders"
        " in which modalities can be added, of what adding it changes. The values add up to that difference. {exact}",
        "It shares out what this model uses, not what the data hold. Two modalities that say the same split the worth of it between them."
        " With every modality ablated the model says the same of every sample, or guesses.",
    ),
    "interactions": (
        "The Shapley interaction index of a pair: what two modalities are worth together beyond what each is worth by itself, averaged over"
        " the sets of the others. Above zero they need each other (synergy, as in an exclusive or); below zero they say the same"
        " (redundancy).",
        "It is about this model’s score. A score that is near its ceiling makes interactions negative: what one modality gives, the other"
        " cannot give again.",
    ),
    "valuation": (
        "Every sample is in one group, by the smallest sets of modalities from which the model is right about it and stays right whatever"
        " is added; the others are {valued}. The groups up to “without any” add up to the joint accuracy.",
        "Single samples are also right by luck, most often where there are few classes. The Shapley values subtract what luck gives.",
    ),
    "encoders": (
        "Feature norm: mean Euclidean length of the features. Effective rank: exponential of the entropy of the normalised singular values"
        " of the centred features (Roy and Vetterli, 2007), between 1 and the feature size: how many directions are in use. Parameters:"
        " counted, and therefore without an interval.",
        "Encoders differ in size and scale: a small norm is no fault by itself, as the layers behind can make up for it. Few samples make a"
        " rank too small: its interval is of the rank that many more would show, and can lie above it. With fewer than four samples per"
        " value of a feature it is no more than a guess.",
    ),
    "gradients": (
        "Gradient norm: that of the joint loss’s mean gradient over the encoder’s trainable parameters, at the present weights. Divided by"
        " the norm of these parameters it is how far a step of plain SGD at a learning rate of 1 would move them. Update: how far an epoch"
        " moved them, relative to their norm: the way from the run’s best epoch to its last, divided by the epochs between. It is about"
        " weights, not samples, and has no interval.",
        "Few samples make a gradient too long: its interval is of the gradient that many more would have, and can lie below it. Gradients"
        " at the end of a training are small for all, and the optimizer decides what becomes of them: Adam moves parameters of small"
        " gradients as far as others. Steps that go to and fro moved the weights further than an update tells.",
    ),
    "calibration": (
        "Predictions are sorted into equally wide bins by the probability of the predicted class. On the diagonal a head is as often right"
        " as it is sure; below it, it is too sure. The expected calibration error is the mean distance to the diagonal, weighted by the"
        " number of samples. Dots grow with that number.",
        "The error of few samples is too large even for a perfect head, for distances count absolutely: the interval is of the error that"
        " many more would show. Compare heads on the same samples.",
    ),
    "agreement": (
        "The share of samples of which two heads predict the same class, right or wrong. Cohen’s κ sets it beside the agreement of two"
        " heads that predict each class as often, but know nothing of each other: 0 is no more than theirs, 1 is agreement about every"
        " sample.",
        "Heads that are both nearly always right agree nearly always, and κ does not take that out: it corrects for the frequency of the"
        " classes, not for what both know. That two heads agree does not say that they see the same.",
    ),
    "missing": (
        "The joint model’s score where a share of the samples, drawn at random, lacks the modality. The same samples lack it for every"
        " modality, and those of a smaller share are among those of a larger one.",
        "The ends are the whole model and the model without the modality; where the score is a mean over samples, the line between them is"
        " straight but for the draw.",
    ),
    "noise": (
        "The joint model’s score where Gaussian noise is added to the inputs of one modality. A level of 1 is noise with the standard"
        " deviation of the input over all samples and values.",
        "Noise of one level can be much for one modality and little for another. A model that was trained with noise bears more of it.",
    ),
    "curves": (
        "What the run recorded at the end of each epoch: scores of the heads, the utilization gap δ, and the factor on"
        " each modality’s learning rate.",
        "Scores of one run wander; another seed would give other curves.",
    ),
    "generalisation": (
        "The score on the train split minus that on the other one; large where a head learned its training samples by heart. {gap}",
        "The train split must be the one that the model was trained on, without its augmentation.",
    ),
    "disagreements": (
        "A pair of heads disagrees about a sample as much as the less sure of them is sure, where they predict different classes. Pairs"
        " take turns with the sample they disagree about most.",
        "These samples were picked for their disagreement: they are no picture of the data as a whole. Wrong labels gather here as well.",
    ),
    "paired": (
        "Each number of both models with its own interval, and their difference B − A, in bold where its interval excludes zero. Both were"
        " scored on the same {samples} samples and the same bootstrap samples of them, and subtracted draw by draw: what both find easy or"
        " hard drops out. Go by this interval, not by whether the two others overlap.",
        "It tells what other samples of the same kind would show of these two trained models, and nothing of other trainings. {left_out}",
    ),
    "comparison": (
        "Each number of both models with its own interval, and their difference. Its interval is put together from the two (Zou and Donner,"
        " 2008): independent errors are added as squares.",
        "It is an interval for two independent sets of samples. {pairing}",
    ),
}


def definition(key: str, diagnosis: Diagnosis, **more: str) -> tuple[str, ...]:
    """Return what a figure is and what it assumes, in the words that fit a diagnosis."""
    kinds = ", or ".join(KIND_NAMES.get(kind, kind) for kind in diagnosis.ablations) or "nothing"
    probes = (
        "It is fitted on the train split."
        if diagnosis.probes_fitted_on == "train"
        else "It is fitted on the same samples in five folds, each scored by a probe that has not seen it."
    )
    where = {
        "features": "Modalities are left out in the encoders’ features.",
        "inputs": "Modalities are left out in the model’s inputs.",
        "subsets": "The model itself answers without the modality.",
    }[diagnosis.ablated]
    drawn = next((shapley for shapley in diagnosis.shapley.values() if not shapley.exact), None)
    words = {
        "kinds": kinds,
        "probes": probes,
        "where": where,
        "donors": f" Of other samples {diagnosis.donors} take turns, and their scores are averaged." if diagnosis.donors > 1 else "",
        "exact": "Every set of modalities was evaluated."
        if drawn is None
        else f"{drawn.orders or 'Some'} orders were drawn at random instead of all.",
        "valued": _valued(diagnosis),
        "pairing": "",
        "gap": "Its interval is over the samples of both splits."
        if diagnosis.mean_of == "train"
        else "Both scores are those that the run recorded at its best epoch; they have no interval.",
        **more,
    }
    return tuple(part.format(**words).strip() for part in _DEFINITIONS[key])


def _valued(diagnosis: Diagnosis) -> str:
    # As the valuation chooses its ablation.
    kind = next((kind for kind in ("mean", "absent", "zero") if kind in diagnosis.ablations), "mean")
    return {"mean": "replaced by their mean", "absent": "absent", "zero": "replaced by zeros"}[kind]


def intervals(diagnosis: Diagnosis) -> str:
    """Return what the intervals are, in a sentence."""
    if not diagnosis.resamples:
        return "No intervals were made."
    return (
        f"Intervals hold {100 * diagnosis.level:g} % and come from {diagnosis.resamples:,} bootstrap samples, the same for all quantities"
        " of the diagnosed samples. They say how far other samples would have moved a number, not how far another training would have."
    )


def valuation_meaning(name: str) -> str:
    """Return what a group of the valuation means.

    >>> valuation_meaning("audio alone"), valuation_meaning("two needed")
    ('only this one suffices', 'no smaller set suffices')
    """
    fixed = {
        "either": "each suffices by itself: redundant",
        "any of several": "two or more suffice, each by itself: redundant",
        "without any": "right whatever is shown",
        "conflict": "wrong with all, right with some",
        "neither": "wrong with any of them",
        "none": "wrong with any of them",
    }
    if name in fixed:
        return fixed[name]
    if name.endswith(" needed"):
        return "neither suffices by itself: synergy" if name.startswith("both") else "no smaller set suffices"
    return "only this one suffices" if name.endswith(" alone") else ""
