"""Training configuration: validated values, YAML files and named recipes."""
