"""Signatures and annotations, also where Python 3.14 cannot evaluate an annotation yet.

From 3.14 on, annotations are evaluated when somebody asks for them. A name that is not defined then, because it comes
later or is imported for type checkers only, is a `ForwardRef` here instead of a `NameError`.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any

_FORWARD: dict[str, Any] = {}
_FORWARD_SIGNATURE: dict[str, Any] = {}
if sys.version_info >= (3, 14):
    from annotationlib import Format

    _FORWARD = {"format": Format.FORWARDREF}
    _FORWARD_SIGNATURE = {"annotation_format": Format.FORWARDREF}


def signature_of(function: Callable[..., object]) -> inspect.Signature:
    """Return a signature; `ValueError` and `TypeError` as `inspect.signature`."""
    return inspect.signature(function, **_FORWARD_SIGNATURE)


def annotations_of(cls: type) -> dict[str, object]:
    """Return the annotations in the body of a class, without those of its bases."""
    return inspect.get_annotations(cls, **_FORWARD)
