"""Scores of predicted against true stains."""
