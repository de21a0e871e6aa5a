"""What Hydra finds: it takes plugins from modules in `hydra_plugins` only, a package that all projects share."""

from diptych.sweeping import launcher, optuna_sweeper


class RunLauncher(launcher.RunLauncher):
    """`hydra.launcher` of `train.py`; says nothing of its own."""


class OptunaSweeper(optuna_sweeper.OptunaSweeper):
    """`hydra.sweeper` of `sweep=optuna`; says nothing of its own."""
