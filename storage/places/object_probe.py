"""Tries out what a store's server promises: to create an object once, and to say so otherwise."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.places.object_client import client
from reelvec.storage.places.object_failures import Conflict, Unsupported, explained_remote

__all__ = ["Probe", "Tried"]

_TRIES = 8  # of a put that the server asks to send again


@dataclass(frozen=True, slots=True)
class Tried:
    """What a server that creates objects once does besides."""

    completes_once: bool
    """An upload in pieces is refused where the name is taken; else files go in one put."""
    versioned: bool
    """The bucket keeps what is deleted."""


class Probe:
    """Two creates, and a completed upload, of one small object."""

    def __init__(self, bucket: str, key: str) -> None:
        self._name = {"Bucket": bucket, "Key": key}
        self.uri = f"s3://{bucket}/{key}"
        self._versions: set[str] = set()

    def check_creates(self) -> None:
        """Returns where the object is there and the server refused to create it again.

        Raises:
            StoreError: it did not refuse; the object is removed again.
        """
        made = 0
        for attempt in range(_TRIES):
            try:
                with explained_remote("write", uri=self.uri):
                    self._note(client().call("put_object", **self._name, Body=b"", IfNoneMatch="*"))
            except FileExistsError:
                return
            except Conflict:
                if attempt == _TRIES - 1:
                    raise
                continue
            made += 1
            if made == 2:
                break
        with suppress(StoreError):
            self._remove()
        raise StoreError(self._refusal(), path=self.uri)

    def completes_once(self) -> bool:
        """Whether an upload in pieces is refused where the object is there (`check_creates`).

        Raises:
            StoreError: the server cannot be asked.
        """
        with explained_remote("write", uri=self.uri):
            upload = client().call("create_multipart_upload", **self._name)["UploadId"]
        named = self._name | {"UploadId": upload}
        try:
            with explained_remote("write", uri=self.uri):
                piece = client().call("upload_part", **named, PartNumber=1, Body=b"x")
                pieces = {"Parts": [{"PartNumber": 1, "ETag": piece["ETag"]}]}
                self._note(
                    client().call(
                        "complete_multipart_upload",
                        **named,
                        MultipartUpload=pieces,
                        IfNoneMatch="*",
                    )
                )
        except (FileExistsError, Conflict):
            return True
        except (Unsupported, MissingArtifactError):  # completed, if its answer was lost
            return False
        finally:
            with suppress(StoreError), explained_remote("delete", uri=self.uri):
                client().call("abort_multipart_upload", **named)
        return False

    def rehearse(self) -> Tried:
        """All of it, and the object removed again.

        Raises:
            StoreError: what `check_creates`, `completes_once` and `_remove` raise.
        """
        self.check_creates()
        try:
            completes = self.completes_once()
        finally:
            self._remove()
        return Tried(completes, versioned=bool(self._versions))

    def _remove(self) -> None:
        """Removes the object, with every version of it that was made.

        Raises:
            StoreError: the server refuses.
        """
        with explained_remote("delete", uri=self.uri):
            for version in self._versions:
                client().call("delete_object", **self._name, VersionId=version)
            if self._versions:
                return
            marker = client().call("delete_object", **self._name)
            if marker.get("DeleteMarker"):  # of a bucket that was versioned once
                named = self._name | {"VersionId": marker.get("VersionId", "null")}
                client().call("delete_object", **named)

    def _note(self, answer: dict[str, Any]) -> None:
        version = answer.get("VersionId")
        if version and version != "null":
            self._versions.add(str(version))

    def _refusal(self) -> str:
        if self._versions:
            return (
                f"cannot write {self.uri}: the bucket {self._name['Bucket']} is versioned, and in "
                "versioned buckets this server ignores If-None-Match: it created one object twice, "
                "so two runs could overwrite each other; use a bucket without versioning (aws "
                "s3api put-bucket-versioning … Status=Suspended turns it off)"
            )
        return (
            f"cannot write {self.uri}: this server ignores If-None-Match: it created one object "
            "twice, so two runs could overwrite each other; use an object store with conditional "
            "writes (AWS, MinIO, Ceph, R2 have them) or a folder"
        )
