"""CLIP's two towers, its tokenizer, its preprocessing and its weights, under OpenAI's names."""
