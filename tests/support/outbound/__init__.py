"""On PYTHONPATH of a watched program: its `sitecustomize` notes every address it asks for."""
