"""What Hydra finds: it takes plugins from modules in `hydra_plugins` only, a package that all projects share."""

from diptych.sweeping import launcher, optuna_sweeper


class RunLauncher(launcher.RunLauncher):
    """`hydra.launcher` of `train.py`, under the name by which Hydra finds it."""


class OptunaSweeper(optuna_sweeper.OptunaSweeper):
    """`hydra.sweeper` of `sweep=optuna`, under the name by which Hydra finds it."""
