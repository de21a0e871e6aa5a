"""Run by test_fake_gpu.py in a process of its own: prints one JSON line a check, `{"check": ..., ...}`."""

from __future__ import annotations

import json
import sys
from typing import Any

import fake_gpu

fake_gpu.prepare()  # before anything is imported that is prepared

import torch  # noqa: E402
from evaluations import base_captions, captions, evaluation, photos  # noqa: E402
from layers import (  # noqa: E402
    kernels_of_a_layer,
    memory_of_layers,
    norms_of_the_composer,
    passes_of_a_layer,
)
from omegaconf import OmegaConf  # noqa: E402
from replicated import waits_of_streams  # noqa: E402
from saves import waits_of_a_save  # noqa: E402
from sharded import sharded_training  # noqa: E402
from tiny_parts import FUSION, MUON, fuser_system, retrieval_system, triplets  # noqa: E402
from trainings import pictures_on_the_gpu, random_states_of_pieces, train  # noqa: E402

from diptych.config.building import chosen_precision  # noqa: E402
from diptych.models.backbones.encoder_dtype import settled_dtype  # noqa: E402
from diptych.parallel.devices import prepare_gpu  # noqa: E402


def precisions() -> dict[str, Any]:
    """What `auto` is on each of the GPUs, of a trainer and of an encoder."""
    found, encoders = {}, {}
    for number in range(torch.cuda.device_count()):
        torch.cuda.set_device(number)
        capability = ".".join(map(str, torch.cuda.get_device_capability()))
        found[capability] = chosen_precision(OmegaConf.create({"precision": "auto"}))
        encoders[capability] = settled_dtype({"dtype": "auto"})["dtype"]
    torch.cuda.set_device(0)
    return {"precisions": found, "encoders": encoders}


CHECKS = {
    "plain": lambda: train(lambda: retrieval_system(None), triplets),
    "pieces": lambda: train(lambda: retrieval_system(4), triplets),
    "pictures": pictures_on_the_gpu,
    "clipped": lambda: train(lambda: retrieval_system(None), triplets, gradient_clip_val=1.0),
    "fuser": lambda: train(fuser_system, lambda: FUSION),
    "sharded": lambda: sharded_training(micro_batch_size=None),
    "sharded muon pieces": lambda: sharded_training(micro_batch_size=4, optimizer=MUON),
    "streams": waits_of_streams,
    "layer": kernels_of_a_layer,
    "composer's norms": norms_of_the_composer,
    "layers' memory": memory_of_layers,
    "layers' passes": passes_of_a_layer,
    "validation": lambda: evaluation("validate"),
    "test": lambda: evaluation("test"),
    "captions": lambda: captions(merged=False, do_sample=False),
    "sampled captions": lambda: captions(merged=True),
    "base captions": base_captions,
    "random states": random_states_of_pieces,
    "precisions": precisions,
    "save": waits_of_a_save,
    "photos": photos,
}

if __name__ == "__main__":
    prepare_gpu(torch.device("cuda:0"))
    for name, check in CHECKS.items():
        if len(sys.argv) < 2 or name in sys.argv[1:]:
            print(json.dumps({"check": name, **check()}), flush=True)  # noqa: T201
