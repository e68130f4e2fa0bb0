"""OpenAI-compatible HTTP and Vermeil's own resources in front of the gRPC services."""
