"""The Register dock: find where one image lies in another."""
