"""The chat format: who speaks, as special tokens around plain text. Knows no tokenizer.

    <bos> <|system|> … <|end|> <|user|> … <|end|> <|assistant|> … <|end|>

No white space is added, so that it works with every alphabet. A picture, a sound or a clip stands in
its turn between two marks of its own.
"""

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
END = "<|end|>"
ROLE_MARKS = {"user": "<|user|>", "assistant": "<|assistant|>", "system": "<|system|>"}
CHAT_TOKENS = (BOS, EOS, PAD, *ROLE_MARKS.values(), END)
"""What the format needs."""
BOI, EOI = "<boi>", "<eoi>"
PICTURE_MARKS = (BOI, EOI)
MEDIA_MARKS = (*PICTURE_MARKS, "<boa>", "<eoa>", "<bov>", "<eov>")
"""Begin and end of a picture, a sound, a clip."""
SPECIAL_TOKENS = (*CHAT_TOKENS, *MEDIA_MARKS)
"""The last entries of every vocabulary made here, in this order."""

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] not in ['user', 'assistant', 'system'] %}"
    "{{ raise_exception('unknown role ' + message['role']) }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""The same format in Jinja, for transformers."""
