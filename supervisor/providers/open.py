"""The one place that turns a provider's section of the config into a provider."""

from __future__ import annotations

import msgspec

from supervisor.config import ProviderSection
from supervisor.errors import ConfigError
from supervisor.providers.provider import Provider


def open_provider(name: str, section: ProviderSection, *, api_key: str | None) -> Provider:
    """Return the provider called `name`. Each kind is imported only where one is configured.

    Raises:
        ConfigError: its key can't be sent, or its script can't be read.
    """
    match section.kind:
        case "builtin":
            from supervisor.providers.builtin import Builtin

            return Builtin(name=name)
        case "scripted":
            return _open_scripted(name, section)
        case "openai":
            from supervisor.providers.openai_compatible import OpenAICompatible

            return OpenAICompatible(
                name=name,
                base_url=section.base_url,
                api_key=api_key,
                connect_timeout_s=section.connect_timeout_s,
                read_timeout_s=section.read_timeout_s,
                answer_max_bytes=section.answer_max_bytes,
            )
        case "anthropic":
            from supervisor.providers.anthropic import DEFAULT_BASE_URL, Anthropic

            return Anthropic(
                name=name,
                base_url=section.base_url or DEFAULT_BASE_URL,
                api_key=api_key,
                connect_timeout_s=section.connect_timeout_s,
                read_timeout_s=section.read_timeout_s,
                answer_max_bytes=section.answer_max_bytes,
            )


def _open_scripted(name: str, section: ProviderSection) -> Provider:
    from supervisor.providers.scripted import Script, Scripted

    try:
        script = msgspec.convert(dict(section.script), Script)
    except msgspec.ValidationError as error:
        raise ConfigError(
            subject=f"providers.{name}.script",
            what=str(error),
            fix="see providers/scripted.py for the steps that there are",
        ) from error
    return Scripted(name=name, script=script)
