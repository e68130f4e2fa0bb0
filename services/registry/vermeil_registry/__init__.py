"""The registry: owner of the database, of all jobs and of all names."""
