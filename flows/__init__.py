"""Orchestration with Prefect: order, retries, schedules and artifacts; no mathematics."""
