"""Evaluation: tie-aware retrieval metrics, bit health, baselines, calibration, drift, and the rule of the gate.

It imports nothing, since a query needs only :mod:`aepipe.evaluate.calibration`.
"""
