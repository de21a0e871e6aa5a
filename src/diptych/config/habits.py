"""Settings that other projects have, and what does the same here."""

from __future__ import annotations

_SAME = {
    "trainer.fast_dev_run": "debug=fast takes two steps of everything",
    "trainer.overfit_batches": "debug=overfit learns one batch by heart",
    "trainer.profiler": "debug=profile says what the time goes to",
    "trainer.max_epochs": "trainer.max_steps is the length of a run, in optimizer steps",
    "trainer.limit_train_batches": "trainer.max_steps is the length of a run, in optimizer steps",
    "epochs": "trainer.max_steps is the length of a run, in optimizer steps",
    "max_steps": "it is trainer.max_steps",
    "checkpoint": "it is ckpt=, of evaluate and pipelines, and init_from= or resume= of train",
    "model": "it is system/model=",
    "loss": "it is system/loss=",
    "optimizer": "it is system/optimizer=",
    "dry_run": "validate=true looks at a command without running it",
}


def habit(key: str) -> str:
    """A sentence that says what to type in place of a key that people bring from other projects; empty for others."""
    return f" Here {_SAME[key]}" if key in _SAME else ""
