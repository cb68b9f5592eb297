"""Level "profiles": profiles of wells, retrieval and toxicity."""
