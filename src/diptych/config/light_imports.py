"""Lightning and open_clip without what they import just in case: a third of the time to a first step.

torchmetrics imports SciPy, torchvision's detection models, transformers and matplotlib as soon as anybody asks it for
`Metric`; open_clip imports timm (and with it wandb) and transformers for towers that a run may not have. Here the
names that they want from these packages stand for the real ones until somebody uses them: nothing is missing, it only
comes later.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_PLAIN = {"Metric": "metric", "MetricCollection": "collections", "__version__": "__about__"}
_TIMM = ("timm", "timm.layers")
_TRANSFORMERS = ("transformers", "transformers.generation", "transformers.modeling_outputs")


def import_lightly() -> None:
    """Imports torchmetrics, Lightning and open_clip, unless they are there already; the rest of them follows on use."""
    if "torchmetrics" not in sys.modules and (spec := find_spec("torchmetrics")):
        module = module_from_spec(spec)
        module.__class__ = _MetricsPackage
        sys.modules["torchmetrics"] = module
        with _standing_in("torchmetrics.utilities.plot"):
            importlib.import_module("torchmetrics.utilities")  # first: it and `metric` import each other
            importlib.import_module("torchmetrics.collections")
    importlib.import_module("lightning.pytorch")
    if "open_clip" not in sys.modules:
        with _standing_in(*_TIMM, *_TRANSFORMERS):
            importlib.import_module("open_clip")


class _MetricsPackage(ModuleType):
    """torchmetrics before its `__init__` was run: that happens when a name is asked for that is not in _PLAIN."""

    def __getattr__(self, name: str) -> Any:
        if name in _PLAIN:
            return getattr(importlib.import_module(f"torchmetrics.{_PLAIN[name]}"), name)
        if name == "_logger":
            return logging.getLogger("torchmetrics")
        if name.startswith("__") or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(f"module 'torchmetrics' has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment]  # typeshed: no other class than the own one
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


class _Later(type):
    """A class, or function, of a module that is not imported yet; it is when this is called, or asked about."""

    module: str

    def real(cls) -> Any:
        """The one that this stands for."""
        return getattr(importlib.import_module(cls.module), cls.__name__)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.real()(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(cls.real(), name)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.real())

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.real())


class _StandIn(ModuleType):
    """A module that gives out a `_Later` for each name; one that is kept, as `timm` is, imports the real module when
    it is used after its time.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            return _Later(name, (), {"module": self.__name__})
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _standing_in(*names: str) -> Iterator[None]:
    """Puts stand-ins for modules that are not imported yet in their place while the block runs."""
    own = {name: _StandIn(name) for name in names if name not in sys.modules}
    sys.modules.update(own)
    try:
        yield
    finally:
        for name, module in own.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
