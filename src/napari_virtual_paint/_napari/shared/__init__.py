"""What several docks share; imports no dock."""
