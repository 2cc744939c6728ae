"""The model side: fusions, joint fusion and its prediction, encoders.

>>> import torch
>>> from equimodal.nn import JointFusion, ResNet, SequenceEncoder
>>> model = JointFusion({"image": ResNet(10, in_channels=1), "motion": SequenceEncoder(6)}, num_outputs=27, fusion="concat")
>>> prediction = model({"image": torch.zeros(4, 1, 48, 64), "motion": torch.zeros(4, 180, 6)})
>>> prediction.multimodal.shape
torch.Size([4, 27])

Everything here needs torch alone; :class:`TransformersBackbone` imports transformers when one is built.
"""

from equimodal.nn.encoders import MLP, ResNet, SequenceEncoder, Sequences, TextEncoder, TransformersBackbone, make_encoder
from equimodal.nn.fusion import Additive, Attention, Concat, FiLM, Fusion, Gated, Late, Sum, make_fusion
from equimodal.nn.joint import JointFusion
from equimodal.nn.prediction import Prediction, Routes, Transform
from equimodal.nn.probing import ProbedModel, probe
from equimodal.nn.unimodal import UnimodalModel

__all__ = [
    "MLP",
    "Additive",
    "Attention",
    "Concat",
    "FiLM",
    "Fusion",
    "Gated",
    "JointFusion",
    "Late",
    "Prediction",
    "ProbedModel",
    "ResNet",
    "Routes",
    "SequenceEncoder",
    "Sequences",
    "Sum",
    "TextEncoder",
    "Transform",
    "TransformersBackbone",
    "UnimodalModel",
    "make_encoder",
    "make_fusion",
    "probe",
]
