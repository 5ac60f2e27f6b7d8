"""Kinds of video files whose every frame says which it is, and what each decoder makes of them."""
