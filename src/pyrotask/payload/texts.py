"""What is said about values and errors: bounded, and safe from the code of users' classes."""

from __future__ import annotations

MAX_MESSAGE = 2_000
"""The most characters that are kept of an exception's text: some hold a whole array."""


def type_name(kind: type) -> str:
    """Name a type as one would import it."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def describe(error: BaseException) -> str:
    """Return what the last line of a traceback says: the type's name, and the text."""
    text = text_of(error)
    if text is None:
        text = "(its text cannot be shown)"
    return type_name(type(error)) + (f": {text}" if text else "")


def text_of(error: BaseException) -> str | None:
    """Return ``str(error)``, or None when that raises."""
    try:
        return shortened(str.__str__(str(error)), MAX_MESSAGE)
    except Exception:  # noqa: BLE001 - a user's __str__
        return None


def safe_repr(value: object) -> str:
    """Return ``repr(value)``, or what can be said when that raises."""
    try:
        text = str.__str__(repr(value))
    except Exception as error:  # noqa: BLE001 - a user's __repr__
        text = f"<{type_name(type(value))} whose repr raises {type_name(type(error))}>"
    return shortened(text, MAX_MESSAGE)


def shortened(text: str, limit: int) -> str:
    """Return the text without surrogates, and without its middle if it is too long."""
    if len(text) > limit:
        text = f"{text[: limit // 2]}\n... {len(text) - limit} characters ...\n{text[-limit // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
