"""OpenAI's HTTP shapes of chat and completions, both ways."""
