"""The core's claims: the subjects of the report, and the files of each."""

from dataclasses import replace
from importlib import import_module

from proofs_check.claim import Claim

FILES = {
    "every critical point": "critical",
    "global minimisers": "minimisers thresholds minority_collapse",
    "certificates": "certificates",
    "saddles": "saddles merged_classes polygons",
    "whole landscapes": "atlas",
    "mean squared error": "mse imbalanced",
    "imbalance": "layer_peeled margins biased_minority",
    "non-negative features": "nonnegative",
    "losses": "one_vs_rest adjusted",
    "rescaled MSE": "rescaled",
    "focal loss": "focal",
    "Hessian spectra": "spectra unused_dimensions",
    "conditioning": "conditioning",
    "exact reductions": "reductions complete_invariant",
    "regression": "regression",
    "rate reduction": "rate_reduction redunet",
    "constrained rate reduction": "constrained_rate",
    "normalised convolutions": "conv_norm",
    "deep linear networks": "deep_linear",
    "deep ReLU networks": "deep_relu low_rank_networks kinks",
    "equilibrium layers": "equilibrium equilibrium_blocks equilibrium_critical",
    "graphs": "graph graph_flow random_graphs graph_network graph_spectra",
    "spheres": "sphere",
    "contrastive features": "contrastive",
    "sets of labels": "multilabel",
    "soft labels": "soft_labels",
    "several tasks": "tasks",
    "ordered classes": "ordinal",
    "label noise": "overparameterised noisy_features",
    "self-expression": "self_expression",
    "teacher-guided queries": "teacher_guided",
    "optimisers and flows": "dynamics",
    "closed forms in ball arithmetic": "exact exact_thresholds",
    "identities by computer algebra": "symbolic symbolic_losses symbolic_thresholding "
    "symbolic_blocks symbolic_points symbolic_tables symbolic_flows",
}


def claims_about(subject: str) -> tuple[Claim, ...]:
    """The claims of a subject.

    Example:
        >>> claims_about("certificates")[0].subject
        'certificates'
    """
    modules = [import_module(f"proofs_check.claims.{file}") for file in FILES[subject].split()]
    return tuple(replace(claim, subject=subject) for module in modules for claim in module.CLAIMS)


SUBJECTS = tuple(claims_about(subject) for subject in FILES)
