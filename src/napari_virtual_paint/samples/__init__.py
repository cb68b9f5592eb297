"""Simulated fields with exact truth, and real ones to download."""
