"""Orchestration: order, retries, schedules and artifacts. The only room with Prefect; it knows no mathematics."""
