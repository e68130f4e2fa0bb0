"""Raw files to datasets."""
