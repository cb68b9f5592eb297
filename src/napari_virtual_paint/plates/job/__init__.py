"""Plate jobs: plan, paint, record, resume."""
