"""The report: one offline page, its figures and its tables."""
