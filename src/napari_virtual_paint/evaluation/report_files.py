"""File names in a report folder."""

from __future__ import annotations

PAGE = "report.html"
JSON = "report.json"
ABOUT = "evaluation.json"  # the request, and the paths of its inputs
FAILED = "failed.csv"
TABLES = "tables"  # folder of the tables
PROFILES = "profiles.parquet"  # the table of this name as Parquet too, since it may have thousands of columns
EMBEDDING = "profiles_embedding.csv"  # among the tables
FOLDER = ".fields"  # folder of stored field results, so that a run can resume
JOB = "job.json"  # its file with the request
