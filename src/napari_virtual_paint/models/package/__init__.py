"""Model packages (bioimage.io): read, verify, write and export."""
