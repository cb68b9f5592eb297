"""File names in a report folder."""

from __future__ import annotations

PAGE = "report.html"
JSON = "report.json"
ABOUT = "evaluation.json"
"""The request, and the paths of its inputs."""
FAILED = "failed.csv"
TABLES = "tables"
"""Folder of the tables."""
PROFILES = "profiles.parquet"
"""The table of this name as Parquet too, since it may have thousands of columns."""
EMBEDDING = "profiles_embedding.csv"
"""Among the tables."""
FOLDER = ".fields"
"""Folder of stored field results, so that a run can resume."""
JOB = "job.json"
"""Its file with the request."""
