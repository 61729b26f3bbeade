"""Evaluation: metrics, bit health, baselines, calibration, drift, rule of the gate.

It imports nothing, since a query needs only :mod:`aepipe.evaluate.calibration`.
"""
