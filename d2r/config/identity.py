"""Which run a configuration is of: three questions, and one answer to each.

*Is a recorded configuration as it was written?* :func:`config_hash`, over the JSON that the record holds and never over
what today's classes make of it, so that old records stay whole whatever the classes become.

*Is this the run that is planned?* :func:`is_run`: what the record holds is read by today's classes and compared value
by value. A key that it lacks has its default, so a new key changes nothing. Records state every value, so a default
that is changed later makes exactly those runs others that had the old one.

*Must Snakemake train anew?* Whether :func:`identity` differs from the one that it noted. Values that equal their
defaults are left out of it, so a new key changes nothing here either; but for that it cannot see a changed default.

Words for readers (:class:`~d2r.config.schema.Descriptive`) count for the first question alone. Hence the one duty of
whoever changes a default, or what a value means: raise :data:`CONFIG_SCHEMA`, and every run from before is another run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, JsonValue

from d2r.config.parse import parse
from d2r.config.schema import Descriptive, RunConfig
from d2r.errors import UserError

CONFIG_SCHEMA = 1
"""Raised with a default, or the meaning of a value. Records from before it was noted are of the first."""


def config_hash(config: RunConfig | Mapping[str, JsonValue]) -> str:
    """sha256 in canonical JSON of a configuration as it is written: of a run, or of the JSON that its record holds."""
    written = config.model_dump(mode="json") if isinstance(config, RunConfig) else config
    return _sha256(written)


class Stated(BaseModel):
    """What is written of a run's configuration: the whole of it, its hash, and the schema of that time."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    config: dict[str, JsonValue]
    """As it was written, whatever the classes have become since."""
    config_hash: str
    config_schema: int = 1

    def run_config(self, where: str) -> RunConfig:
        """The configuration, as today's classes read it.

        Args:
            where: what is read, for the message.

        Raises:
            UserError: if it does not have the hash stated, or holds what today's classes do not know.
        """
        if config_hash(self.config) != self.config_hash:
            raise UserError(
                f"{where}: its configuration does not have the hash stated; the file has been changed"
            )
        return parse(RunConfig, self.config, f"{where}: config")


def stated(config: RunConfig) -> Stated:
    """What a record states of a run's configuration now."""
    return Stated(
        config=config.model_dump(mode="json"), config_hash=config_hash(config), config_schema=CONFIG_SCHEMA
    )


def identity(config: RunConfig) -> str:
    """sha256 of what makes a planned run another run, without what equals its default."""
    return _sha256({"schema": CONFIG_SCHEMA, **_values(config, with_defaults=False)})


def is_run(written: Stated, planned: RunConfig) -> bool:
    """Whether what was written is of the run that is planned."""
    return choices(written) == choices(stated(planned))


def choices(written: Stated) -> dict[str, object] | None:
    """Every value that today's classes read from what was written; none if it was changed or is not theirs."""
    try:
        config = written.run_config("")
    except UserError:
        return None
    return {"schema": written.config_schema, **_values(config, with_defaults=True)}


def _values(model: BaseModel, with_defaults: bool) -> dict[str, object]:
    """What a model says that is not for readers alone; its ``type`` says whose defaults are left out, and so stays."""
    kept: dict[str, object] = {}
    for name, field in type(model).model_fields.items():
        if any(isinstance(mark, Descriptive) for mark in field.metadata):
            continue
        value = getattr(model, name)
        by_default = not field.is_required() and value == field.get_default(
            call_default_factory=True, validated_data=dict(model)
        )
        if with_defaults or name == "type" or not by_default:
            kept[name] = _values(value, with_defaults) if isinstance(value, BaseModel) else value
    return kept


def _sha256(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
