"""The run of an evaluation: request, passes over the fields, stored results."""
