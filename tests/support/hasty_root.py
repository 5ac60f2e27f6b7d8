"""A local store that does not wait for the disk, for tests that publish often."""

from reelvec.storage.places.local import LocalRoot

__all__ = ["HastyRoot"]


class HastyRoot(LocalRoot):
    """Makes a store without waiting for the disk."""

    def put_new(self, path, data):
        self._at(path).parent.mkdir(parents=True, exist_ok=True)
        with self._at(path).open("xb") as file:
            file.write(data)

    def put_file(self, path, file):
        self.put_new(path, file.read_bytes())

    def sync(self, *paths):
        """Nothing outlasts a crash here."""
