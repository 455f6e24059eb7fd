"""Questions to a model about data that others wrote."""

from __future__ import annotations

from collections.abc import Iterable

from supervisor.agents.quoting import one_line


def data_prompt(
    instructions: str, lines: Iterable[str], *, bytes_max: int, line_chars_max: int
) -> tuple[dict[str, str], ...]:
    """Return the question for the model; of long data only the first `bytes_max` bytes are given.

    The data is a message of its own and quoted line by line, so that none of it can end the
    quotation or speak with the instructions' voice.
    """
    left, kept = bytes_max, []
    for line in lines:
        text = f"> {one_line(line, chars_max=line_chars_max)}\n"
        left -= len(text.encode())
        if left < 0:
            break
        kept.append(text)
    return (
        {"role": "system", "content": instructions},
        {"role": "user", "content": "".join(kept)},
    )
