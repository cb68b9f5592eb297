"""The Evaluate dock: run an evaluation and open its report."""
