"""Studies of generalisation: train on each domain, test on each (Tonks 2024)."""
