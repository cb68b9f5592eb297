"""What the files of a report are called, for who writes and who reads them."""

from __future__ import annotations

PAGE = "report.html"
JSON = "report.json"
ABOUT = "evaluation.json"
"""What was asked, and where everything lies."""
FAILED = "failed.csv"
TABLES = "tables"
"""Folder of the tables."""
PROFILES = "profiles.parquet"
"""The table of this name once more, since it may have thousands of columns."""
EMBEDDING = "profiles_embedding.csv"
"""Among the tables."""
FOLDER = ".fields"
"""Folder of what is kept of each field, so that a run can go on."""
JOB = "job.json"
"""In it: what was asked and resolved."""
