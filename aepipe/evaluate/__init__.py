"""What codes are worth: tie-aware retrieval figures, bit health, baselines, and the gate before service. NumPy only."""

from __future__ import annotations

from aepipe.evaluate.baselines import (
    BASELINES,
    Baseline,
    Projection,
    fit_itq,
    fit_lsh,
    fit_pca_sign,
    fit_spectral,
    itq_rotation,
)
from aepipe.evaluate.bootstrap import Estimate, estimate, interval, paired_difference
from aepipe.evaluate.calibration import Calibration, calibrate
from aepipe.evaluate.drift import Drift, drift
from aepipe.evaluate.floats import nearest
from aepipe.evaluate.gate import Finding, ItqRule, Pair, Verdict, judge
from aepipe.evaluate.health import BitHealth, bit_health
from aepipe.evaluate.metrics import METRICS, Retrieval, neighbour_recall, recall_at_10, retrieval, retrieval_float
from aepipe.evaluate.reranking import Reranking
from aepipe.evaluate.scores import Protocol, Row, Sample, Scores, score

__all__ = [
    "BASELINES",
    "METRICS",
    "Baseline",
    "BitHealth",
    "Calibration",
    "Drift",
    "Estimate",
    "Finding",
    "ItqRule",
    "Pair",
    "Projection",
    "Protocol",
    "Reranking",
    "Retrieval",
    "Row",
    "Sample",
    "Scores",
    "Verdict",
    "bit_health",
    "calibrate",
    "drift",
    "estimate",
    "fit_itq",
    "fit_lsh",
    "fit_pca_sign",
    "fit_spectral",
    "interval",
    "itq_rotation",
    "judge",
    "nearest",
    "neighbour_recall",
    "paired_difference",
    "recall_at_10",
    "retrieval",
    "retrieval_float",
    "score",
]
