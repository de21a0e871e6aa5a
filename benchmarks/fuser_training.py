"""Fine-tuning a small Qwen3 on the CPU: packed rows and our loss against TRL's SFTTrainer with its defaults.

`python benchmarks/fuser_training.py [--steps 6] [--vocabulary 32768]`; needs trl, takes minutes. Both sides train the
same LoRA on the same base model (8 layers of width 512, random weights) and the same examples: lengths from 100 to 900
tokens, drawn evenly, of which the last quarter is the completion that carries the loss; bf16 autocast, gradient
checkpointing, AdamW, about 4,000 tokens a step. TRL pads batches of 8, which is its default, and shuffles; ours packs
rows of 4,096. TRL's side is its Trainer, ours a plain loop over the parts that the Trainer of Lightning would call.

Each side runs in a process of its own, once with glibc's allocator as it is and once keeping what is freed
(MALLOC_MMAP_MAX_=0, MALLOC_TRIM_THRESHOLD_): otherwise the kernel zeroes gigabytes of fresh pages in every step. The
first step is not measured. Beside tokens per second of the clock, tokens per second of processor time are told, which
other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from typing import Any

import torch

from diptych.contracts.news import FusionExample
from diptych.data.news.packing import PackedBatches, PackedCollator
from diptych.losses.causal_lm import ChunkedCausalLMLoss
from diptych.models.fuser.qlora_fuser import QLoRAFuser
from side_by_side import machine_line

REQUIRED = 1.5
ROW_LENGTH, RANK, ALPHA, LEARNING_RATE = 4096, 16, 32, 1e-4
NUM_EXAMPLES, SHORTEST, LONGEST = 256, 100, 900
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(1 << 26)}


def make_examples(vocabulary: int) -> list[FusionExample]:
    """Random tokens; the same for both sides."""
    generator = torch.Generator().manual_seed(0)
    examples = []
    for number in range(NUM_EXAMPLES):
        length = int(torch.randint(SHORTEST, LONGEST + 1, (1,), generator=generator))
        ids = torch.randint(4, vocabulary, (length,), generator=generator).tolist()
        prompt = length - length // 4
        examples.append(FusionExample(str(number), tuple(ids[:prompt]), tuple(ids[prompt:])))
    return examples


def save_base_model(folder: str, vocabulary: int) -> None:
    """A small Qwen3 with random weights; its speed does not depend on them."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=64,
        eos_token_id=1,
        bos_token_id=2,
        pad_token_id=3,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)


class Clock:
    """Counts tokens and seconds between the end of the first step and the end of the last."""

    def __init__(self) -> None:
        self.tokens, self.steps = 0, 0

    def step_done(self, tokens: int) -> None:
        """After a step with so many tokens that are not pads."""
        if self.steps == 0:
            self.start = (time.perf_counter(), time.process_time())
        else:
            self.tokens += tokens
        self.steps += 1
        self.end = (time.perf_counter(), time.process_time())

    def result(self) -> dict[str, float]:
        """Non-padding tokens per second of the clock and of processor time."""
        wall, processor = (end - start for start, end in zip(self.start, self.end, strict=True))
        return {"wall": self.tokens / wall, "processor": self.tokens / processor}


def train_ours(folder: str, steps: int, vocabulary: int) -> dict[str, float]:
    """Packed rows, labelled positions alone through the head."""
    examples = make_examples(vocabulary)
    fuser = QLoRAFuser(folder, quantization="none", rank=RANK, alpha=ALPHA, dtype="float32")
    fuser.load("cpu")
    loss, collate, clock = ChunkedCausalLMLoss(), PackedCollator(ROW_LENGTH, pad_token_id=3), Clock()
    trained = [parameter for parameter in fuser.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, fused=True)
    lengths = [len(example.prompt_ids) + len(example.completion_ids) for example in examples]
    for rows in islice(PackedBatches(lengths, ROW_LENGTH, rows_per_batch=1, seed=0), steps + 1):
        batch = collate([[examples[position] for position in row] for row in rows])
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(fuser(batch), fuser.head(), batch.labels)["loss"]
        value.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.step_done(int((batch.segments != 0).sum()))
    return clock.result()


def train_trl(folder: str, steps: int, vocabulary: int) -> dict[str, float]:
    """TRL's SFTTrainer as it comes, told only what is to be trained."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    examples, clock = make_examples(vocabulary), Clock()
    rows = [
        {
            "input_ids": [*example.prompt_ids, *example.completion_ids],
            "labels": [-100] * len(example.prompt_ids) + list(example.completion_ids),
        }
        for example in examples
    ]
    seen: list[int] = []

    class Timing(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step_done(seen.pop(0))  # the loader is a batch ahead

    with tempfile.TemporaryDirectory() as output:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            args=SFTConfig(
                output_dir=output,
                max_steps=steps + 1,
                learning_rate=LEARNING_RATE,
                use_cpu=True,
                bf16=True,
                save_strategy="no",
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=_tokenizer(),
            peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Timing()],
        )
        collate = trainer.data_collator

        def counting(batch: list[dict[str, Any]]) -> Any:
            seen.append(sum(len(row["input_ids"]) for row in batch))
            return collate(batch)

        trainer.data_collator = counting
        trainer.train()
    return clock.result()


def _tokenizer() -> Any:
    """One that TRL asks for and does not use: the examples are token ids already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "<eos>": 1, "<bos>": 2, "<pad>": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>", bos_token="<bos>", pad_token="<pad>"
    )


def measure(side: str, folder: str, options: argparse.Namespace, environment: dict[str, str]) -> dict[str, float]:
    """The result of one side in a fresh process."""
    command = [sys.executable, __file__, "--side", side, "--folder", folder]
    command += ["--steps", str(options.steps), "--vocabulary", str(options.vocabulary)]
    plain = {name: value for name, value in os.environ.items() if name not in KEEPING}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=plain | environment)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints the table; with `--side`, one side's result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=32768)
    parser.add_argument("--side", choices=["ours", "trl"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        train = {"ours": train_ours, "trl": train_trl}[options.side]
        print(json.dumps(train(options.folder, options.steps, options.vocabulary)))
        return
    print(f"{machine_line()}, {torch.get_num_threads()} threads")
    print(f"Qwen3, 8 layers of 512, vocabulary {options.vocabulary}, {options.steps} steps; non-padding tokens/s")
    results: dict[tuple[str, str], dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        save_base_model(folder, options.vocabulary)
        for allocator, environment in (("as it is", {}), ("keeps freed memory", KEEPING)):
            for side in ("trl", "ours"):
                found = results[side, allocator] = measure(side, folder, options, environment)
                print(f"  {side:5} allocator {allocator:19} {found['wall']:7.0f} /s   {found['processor']:7.0f} /cpu s")
    for allocator in ("as it is", "keeps freed memory"):
        ratios = {clock: results["ours", allocator][clock] / results["trl", allocator][clock] for clock in found}
        verdict = "met" if ratios["wall"] >= REQUIRED else "MISSED"
        print(f"  ours / TRL, allocator {allocator}: {ratios['wall']:.2f} (processor time {ratios['processor']:.2f}),")
        print(f"    required {REQUIRED}: {verdict}")
    for side in ("trl", "ours"):
        gain = results[side, "keeps freed memory"]["wall"] / results[side, "as it is"]["wall"]
        print(f"  keeping freed memory gives {side}: {gain:.2f}")


if __name__ == "__main__":
    main()
