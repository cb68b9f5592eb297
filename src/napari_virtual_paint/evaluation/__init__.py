"""Predictions judged by what is done with them: pixels, instances, features and profiles."""
