"""Training and evaluation of models that read a picture and a text together.

In Python: `load_retriever` searches a gallery with a picture, a text or both, `load_captioner` captions a news photo
with its article. Each is imported when it is asked for, so that `import diptych` costs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diptych.api.captioner import load_captioner
    from diptych.api.retriever import load_retriever

__version__ = "0.1.0"
__all__ = ["__version__", "load_captioner", "load_retriever"]

if not TYPE_CHECKING:  # a type checker would take any name for one of this module's

    def __getattr__(name):
        """The functions of the Python interface; AttributeError for any other name."""
        from importlib import import_module

        if name not in __all__:
            raise AttributeError(f"module 'diptych' has no attribute {name!r}")
        return getattr(import_module(f"diptych.api.{name.removeprefix('load_')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})
