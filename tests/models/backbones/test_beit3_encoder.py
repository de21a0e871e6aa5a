import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.models.backbones.beit3 import BEiT3, BEiT3Sizes
from diptych.models.backbones.beit3_encoder import BEiT3Encoder

NUM_PIECES = 28
SIZES = BEiT3Sizes(16, 24, 2, 4, 8, 3, 70, NUM_PIECES + 2)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("beit3") / "tiny.pth"
    torch.save(
        {"model": {key: torch.randn_like(value) * 0.5 for key, value in BEiT3(SIZES).state_dict().items()}}, path
    )
    return path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    sentencepiece = pytest.importorskip("sentencepiece")
    path, model = tmp_path_factory.mktemp("spm") / "beit3.spm", io.BytesIO()
    texts = ["a dog on the beach", "The dog sleeps", "two people at a beach", "a red car on the road", "A cat"] * 5
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=NUM_PIECES, num_threads=1, minloglevel=2
    )
    path.write_bytes(model.getvalue())
    return path


def photo(height=50, width=80):
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(height))


def test_photos_are_squashed_and_normalised_as_published(checkpoint):
    encoder = BEiT3Encoder(checkpoint, num_heads=4, image_size=24)
    encoder.load()
    pixels = torch.stack([encoder.transform(photo()), encoder.transform(photo(90, 30))])
    assert pixels.shape == (2, 3, 24, 24)
    picture = Image.fromarray(photo().permute(1, 2, 0).numpy()).resize((24, 24), Image.Resampling.BICUBIC)
    published = (torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1) / 255 - 0.5) / 0.5
    expected = encoder.model.encode_image(published[None])[0]
    torch.testing.assert_close(encoder.embed_images(pixels)[0], expected, rtol=0, atol=0.02)  # a grey level apart
    torch.testing.assert_close(encoder.embed_images(pixels).norm(dim=1), torch.ones(2))


def test_texts(checkpoint, tokenizer):
    encoder = BEiT3Encoder(checkpoint, tokenizer, image_size=24, num_heads=4)
    encoder.load()
    together = encoder.embed_texts(["a dog", "two people at a beach", ""])
    assert together.shape == (3, 16) and together.dtype == torch.float32
    torch.testing.assert_close(together[:1], encoder.embed_texts(["a dog"]))
    ids = encoder._tokenizer.tokenize(["a dog"]).input_ids
    torch.testing.assert_close(together[:1], encoder.model.encode_text(ids, torch.zeros_like(ids)))
    assert encoder.embed_texts(["dog " * 200]).shape == (1, 16)


def test_another_picture_size(checkpoint):
    encoder = BEiT3Encoder(checkpoint, num_heads=4, image_size=40)
    encoder.load()
    assert encoder.embed_images(encoder.transform(photo())[None]).shape == (1, 16)
    with pytest.raises(ValueError, match="image_size=30 is no multiple of 8, the patch size of"):
        BEiT3Encoder(checkpoint, num_heads=4, image_size=30).load()


def test_construction_and_transform_need_no_file():
    encoder = BEiT3Encoder("none.pth", "none.spm")
    data = pickle.dumps(encoder.transform)
    assert len(data) < 1000 and pickle.loads(data)(photo()).shape == (3, 384, 384)
    for call in (lambda: encoder.embed_images(torch.zeros(1, 3, 384, 384)), lambda: encoder.embed_texts(["a"])):
        with pytest.raises(ValueError, match="the weights of none.pth are not loaded yet: call load"):
            call()
    with pytest.raises(ValueError, match="none.pth: there is no such checkpoint file"):
        encoder.load()


def test_a_tokenizer_of_another_model(checkpoint, tokenizer, tmp_path):
    torch.manual_seed(0)
    torch.save(BEiT3(BEiT3Sizes(16, 24, 2, 4, 8, 3, 70, 99)).state_dict(), tmp_path / "other.pth")
    encoder = BEiT3Encoder(tmp_path / "other.pth", tokenizer, num_heads=4)
    with pytest.raises(ValueError, match="makes a vocabulary of 30, the model's text embedding has 99 rows"):
        encoder.load()
    assert encoder.model is None
    silent = BEiT3Encoder(checkpoint, num_heads=4, image_size=24)
    silent.load()
    with pytest.raises(ValueError, match="has no tokenizer: set tokenizer to the file beit3.spm"):
        silent.embed_texts(["a"])
