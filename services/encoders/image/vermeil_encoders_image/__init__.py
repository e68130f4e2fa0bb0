"""Pictures to pixels of one size, to embeddings, and to what was looked for."""
