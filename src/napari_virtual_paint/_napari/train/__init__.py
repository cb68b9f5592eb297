"""The Train dock: configure, start and watch trainings."""
