"""Lightning without advice that does not apply here."""

from __future__ import annotations

import logging
import warnings


def quiet_lightning() -> None:
    """Silences advice that does not apply here, so that what is printed means something."""
    for pattern in (
        ".*does not have many workers.*",
        ".*recommended to use `.*sync_dist=True.*",
        ".*The `srun` command is available on your system but is not used.*",
        ".*your dataloader is not resumable.*",
        ".*Trainer already configured with model summary.*",
        ".*GPU available but not used.*",
        ".*predict returned None.*",
        ".*Consider setting `persistent_workers=True`.*",
        ".*`isinstance.treespec, LeafSpec.` is deprecated.*",
    ):
        warnings.filterwarnings("ignore", pattern)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators"):
        logging.getLogger(name).setLevel(logging.WARNING)
