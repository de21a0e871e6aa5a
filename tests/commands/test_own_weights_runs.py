"""CLIP weights of open_clip's and transformers' own making, named where a checkpoint is: scored, and trained from."""

from __future__ import annotations

import hashlib

import pytest
import torch
from omegaconf import OmegaConf

from diptych.config import building
from diptych.config.command_line import composed
from diptych.config.own_weights import with_own_weights
from diptych.parallel import checkpoints
from tiny_clips import SIDE, save_open_clip, save_transformers_clip
from tiny_runs import TINY_ROOMS_SIZES, TINY_RUN, run_evaluate, run_train

pytestmark = pytest.mark.slow

TEXTS = ["Add  a LAMP", "remove the red rug", ""]
PIXELS = torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def backbone_of(command: str, word: str, *more: str):
    """The backbone that a command builds, with its weights."""
    words = [one for one in with_own_weights(command, [word, *more]) if one != "system=zero_shot"]
    config = composed("train", ["experiment=cir_cirr", "data=rooms", *words])
    building.settle(config, "system")
    backbone = building.build(config.system.model.backbone, _convert_="all")
    backbone.load_pretrained()
    return backbone.eval()


def normalised(backbone, library_mean, library_std):
    assert backbone.mean.flatten().tolist() == pytest.approx(library_mean)
    assert backbone.std.flatten().tolist() == pytest.approx(library_std)
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (library_mean, library_std))
    return (PIXELS / 255 - mean) / std


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("of", ["", "/model.safetensors"])
def test_a_folder_of_transformers_embeds_as_transformers_does(tmp_path, activation, of):
    from transformers import CLIPImageProcessor

    from released_good4cir import make_tokenizer

    model = save_transformers_clip(tmp_path / "clip", activation)
    backbone = backbone_of("evaluate", f"ckpt={tmp_path / 'clip'}{of}")
    assert backbone.activation == activation
    processor = CLIPImageProcessor.from_pretrained(tmp_path / "clip")
    pixels = normalised(backbone, processor.image_mean, processor.image_std)
    tokens = make_tokenizer(tmp_path)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        images, texts = model.get_image_features(pixel_values=pixels), model.get_text_features(**tokens)
        ours = backbone.encode_image(PIXELS), backbone.encode_text(backbone.preprocessing.tokenize(TEXTS))
    for mine, theirs in zip(ours, (images, texts), strict=True):
        theirs = getattr(theirs, "pooler_output", theirs)
        torch.testing.assert_close(mine.embedding, theirs, rtol=0, atol=1e-5)
        assert theirs.abs().mean() > 0.1


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_a_described_model_of_open_clip_embeds_as_open_clip_does(tmp_path, quick_gelu):
    model = save_open_clip(tmp_path / "clip", quick_gelu=quick_gelu)
    check_open_clip(backbone_of("train", f"init_from={tmp_path / 'clip'}"), model, quick_gelu)


def check_open_clip(backbone, model, quick_gelu):
    from open_clip import SimpleTokenizer

    assert backbone.activation == ("quick_gelu" if quick_gelu else "gelu")
    pixels = normalised(backbone, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    with torch.no_grad():
        image, text = model.encode_image(pixels), model.encode_text(SimpleTokenizer()(TEXTS))
        ours = backbone.encode_image(PIXELS), backbone.encode_text(backbone.preprocessing.tokenize(TEXTS))
    for mine, theirs in zip(ours, (image, text), strict=True):
        torch.testing.assert_close(mine.embedding, theirs, rtol=0, atol=1e-5)
    assert backbone.preprocessing.image.resize == "squash"


RUN = ["data=rooms", "data.num_workers=0", "trainer=cpu", "trainer.precision=32-true", *TINY_ROOMS_SIZES]


def test_they_are_scored_by_name_of_a_folder_and_the_result_says_what_was_loaded(tmp_path):
    save_transformers_clip(tmp_path / "clip")
    words = [f"data_dir={tmp_path}", "split=test", "trainer.enable_progress_bar=false", *RUN]
    records = {
        kind: run_evaluate(tmp_path / kind, f"ckpt={tmp_path / 'clip'}", f"system/model={kind}", *words)
        for kind in ("sum", "text_only")
    }
    weights = tmp_path / "clip/model.safetensors"
    for kind, record in records.items():
        assert record["metrics"]["median_rank"] == record["metrics"][f"{kind}/median_rank"]
        assert record["model"]["activation"] == "quick_gelu" and record["model"]["image"]["size"] == SIDE
        assert record["model"]["weights"] == {
            "name": str(weights),
            "bytes": weights.stat().st_size,
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        }


def test_a_training_starts_from_them_and_its_checkpoint_needs_them_no_more(tmp_path):
    model = save_open_clip(tmp_path / "clip")
    first = ["experiment=cir_rooms", f"init_from={tmp_path / 'clip'}", f"data_dir={tmp_path}", "trainer.max_steps=1"]
    small = ["system.model.num_layers=1", "system.model.num_heads=2", "system.model.backbone.freeze=all"]
    run_train(tmp_path / "run", *first, *small, *RUN, *[word for word in TINY_RUN if "max_steps" not in word])
    config = OmegaConf.load(tmp_path / "run/config.yaml")
    assert config.init_from is None and config.system.model.backbone.activation == "quick_gelu"
    for path in (tmp_path / "clip").iterdir():
        path.unlink()
    record = run_evaluate(tmp_path / "eval", f"ckpt={tmp_path / 'run'}", f"data_dir={tmp_path}", "trainer=cpu")
    assert record["model"]["activation"] == "quick_gelu" and "weights" not in record["model"]
    state = checkpoints.load(tmp_path / "run/checkpoints/best.ckpt")["state_dict"]
    assert torch.equal(state["model.backbone.clip.visual.conv1.weight"], model.state_dict()["visual.conv1.weight"])


def test_a_retriever_is_one_of_them_too(tmp_path):
    from PIL import Image

    import diptych

    model = save_open_clip(tmp_path / "clip")
    for name, pixels in zip("abc", PIXELS, strict=True):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / f"{name}.png")
    retriever = diptych.load_retriever(tmp_path / "clip", "cpu", precision="32-true")
    retriever.index({name: tmp_path / f"{name}.png" for name in "abc"}, num_workers=0, show_progress=False)
    found = {result.image_id: result.score for result in retriever.search(text=TEXTS[1], k=3)}
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    with torch.no_grad():
        images = model.encode_image((PIXELS / 255 - mean) / std, normalize=True)
        from open_clip import SimpleTokenizer

        expected = model.encode_text(SimpleTokenizer()(TEXTS[1:2]), normalize=True) @ images.T
    assert [found[name] for name in "abc"] == pytest.approx(expected[0].tolist(), abs=1e-5)
    assert len(retriever.search(image=tmp_path / "a.png", text=TEXTS[1], k=2)) == 2
