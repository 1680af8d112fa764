"""What a listener remembers between its starts: the secret in its path, and its webhooks' keys."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from filelock import FileLock, Timeout

from protime_source.api.redaction import register_secret
from protime_source.errors import AlreadyRunningError, SettingsError
from protime_source.pipeline.lock import beside

logger = logging.getLogger(__name__)

_PATH_LENGTH = 43
"""Characters of 32 random bytes: a shorter path could be guessed."""


class KnownWebhook(msgspec.Struct, frozen=True):
    """A webhook that this listener made.

    Attributes:
        collection: Protime's name of its collection.
        url: Where it leads.
        key: Its private key, which Protime shows once; empty when the response had none.
        created_at: When it was made (UTC).
        valid_until: When it ends, as Protime said then; `None` when it did not.
    """

    collection: str
    url: str
    key: str
    created_at: datetime
    valid_until: datetime | None = None


class _Content(msgspec.Struct):
    path: Annotated[str, msgspec.Meta(min_length=_PATH_LENGTH)]
    webhooks: dict[str, KnownWebhook] = {}


class Memory:
    """A file beside the pipeline's working folder that only its owner can read.

    It is a convenience: without it, the path is a new one, and all webhooks are made anew.

    Args:
        file: The file, which need not exist.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._content = self._read() or _Content(path=secrets.token_urlsafe(32))
        register_secret(self._content.path)
        for each in self._content.webhooks.values():
            register_secret(each.key)

    @classmethod
    def of(cls, working_dir: str) -> Memory:
        """Returns that of a pipeline, by its working folder."""
        return cls(beside(working_dir, "webhooks.json"))

    @property
    def path(self) -> str:
        """The segment of the path that nobody can guess."""
        return self._content.path

    @property
    def webhooks(self) -> dict[str, KnownWebhook]:
        """The webhooks by their ids."""
        return self._content.webhooks

    def keep(self, webhooks: dict[str, KnownWebhook]) -> None:
        """Remembers webhooks, and forgets all others.

        Raises:
            SettingsError: When the file cannot be written.
        """
        for each in webhooks.values():
            register_secret(each.key)
        self._content.webhooks = dict(webhooks)
        unfinished = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            unfinished.unlink(missing_ok=True)
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                file.write(msgspec.json.encode(self._content))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._file)
        except OSError as error:
            raise SettingsError(
                f"{self._file} cannot be written ({error.strerror}). It keeps what the webhooks"
                " need: give this user the right to write there, or name another folder in"
                " DLT_DATA_DIR."
            ) from error

    def _read(self) -> _Content | None:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_Content)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError):
            logger.warning(
                "%s cannot be read, so the webhooks are made anew. Nothing is lost.", self._file
            )
            return None


@contextmanager
def one_listener(working_dir: str) -> Iterator[None]:
    """Holds the lock of a pipeline's listener for as long as the context lasts.

    Raises:
        AlreadyRunningError: When another process holds it.
    """
    file = beside(working_dir, "webhooks.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise AlreadyRunningError(
            f"Another listener of the pipeline {Path(working_dir).name} is at work on this machine."
            " This one did nothing."
        ) from None
    try:
        yield
    finally:
        lock.release()
