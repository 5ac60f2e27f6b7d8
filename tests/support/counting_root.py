"""A local store that counts what is asked of it."""

from collections import Counter
from contextlib import contextmanager

from reelvec.storage.places.local import LocalRoot

VERBS = (
    "put_new", "put_file", "new_file", "new_scratch", "read", "read_into", "exists", "list", "size",
    "age_seconds", "delete", "local_path",
)  # fmt: skip


@contextmanager
def counted_calls(monkeypatch):
    """Every verb called on any local root while the block runs, as a Counter of (verb, path).

    A verb that one verb asks of its own root is a part of that call and not counted.
    """
    calls = Counter()
    inside = []

    def counting(verb):
        plain = getattr(LocalRoot, verb)

        def call(root, *paths, **options):
            if not inside:
                calls[verb, str(paths[0]) if paths else ""] += 1
            inside.append(verb)
            try:
                return plain(root, *paths, **options)
            finally:
                inside.pop()

        return call

    with monkeypatch.context() as patch:
        for verb in VERBS:
            patch.setattr(LocalRoot, verb, counting(verb))
        yield calls
