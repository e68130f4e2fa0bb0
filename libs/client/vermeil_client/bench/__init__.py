"""Load for OpenAI-compatible servers: requests, their arrival, what came back, figures and plots.

Words and definitions are those of `vllm bench serve`. Needs the extra `vermeil-client[bench]`.
"""
