"""Training and evaluation of models that read a picture and a text together."""

__version__ = "0.1.0"
