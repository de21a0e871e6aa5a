import io

import pytest

from diptych.models.backbones.beit3_tokenizer import END, PAD, START, UNKNOWN, BEiT3Tokenizer

sentencepiece = pytest.importorskip("sentencepiece")
TEXTS = ["a dog on the beach", "The dog sleeps", "two people at a beach", "a red car on the road", "A cat"]
NUM_PIECES = 28


def train(path, texts=TEXTS, **settings):
    model = io.BytesIO()
    settings = {"vocab_size": NUM_PIECES, "model_type": "unigram", "num_threads": 1, "minloglevel": 2} | settings
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(texts * 5), model_writer=model, **settings)
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return train(tmp_path_factory.mktemp("spm") / "beit3.spm")


@pytest.fixture(scope="module")
def tokenizer(file):
    return BEiT3Tokenizer(file, NUM_PIECES + 2)


def test_xlm_robertas_numbering(tokenizer, file):
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(file))
    expected = [START, *(piece + 1 for piece in pieces.encode(TEXTS[0])), END]
    assert tokenizer.tokenize([TEXTS[0]]).input_ids.tolist() == [expected]
    last = pieces.id_to_piece(NUM_PIECES - 1)
    assert pieces.piece_to_id(last) + 1 == NUM_PIECES + 2 - 2  # the mask token, never in a text, is the one behind


def test_transformers_gives_the_same_ids(tokenizer, file, tmp_path):
    """Its XLM-RoBERTa tokenizer, in the one way in which it reads the file as it should."""
    transformers = pytest.importorskip("transformers")
    (tmp_path / "sentencepiece.bpe.model").write_bytes(file.read_bytes())
    theirs = transformers.XLMRobertaTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == NUM_PIECES + 2
    for text in [*TEXTS, "the beach, é"]:
        assert tokenizer.tokenize([text]).input_ids[0].tolist() == theirs(text)["input_ids"], text


def test_a_batch_is_padded_on_the_right(tokenizer):
    tokens = tokenizer.tokenize([TEXTS[0], "", "a"])
    assert tokens.input_ids[1].tolist() == [START, END] + [PAD] * (tokens.input_ids.shape[1] - 2)
    assert tokens.mask.sum(1).tolist()[1:] == [2, 3]
    assert ((tokens.input_ids == PAD) == ~tokens.mask).all() and tokens.num_truncated == 0
    assert tokenizer.tokenize([]).input_ids.shape == (0, 0)


def test_case_is_kept_and_what_is_unknown_is_one_token(tokenizer):
    upper, lower = (tokenizer.tokenize([text]).input_ids.tolist() for text in ("The", "the"))
    assert upper != lower
    assert UNKNOWN in tokenizer.tokenize(["é"]).input_ids[0]


def test_a_long_text_keeps_its_end_token(tokenizer):
    tokens = tokenizer.tokenize(["dog " * 100, "dog"])
    assert tokens.input_ids.shape == (2, 64) and tokens.num_truncated == 1
    assert tokens.input_ids[0, 0] == START and tokens.input_ids[0, -1] == END and tokens.mask[0].all()


def test_files_that_are_not_this_tokenizer(file, tmp_path):
    with pytest.raises(ValueError, match="makes a vocabulary of 30, the model's text embedding has 64010 rows"):
        BEiT3Tokenizer(file, 64010)
    with pytest.raises(ValueError, match="none.spm: there is no such tokenizer file"):
        BEiT3Tokenizer(tmp_path / "none.spm", 30)
    (tmp_path / "text.spm").write_text("no model")
    with pytest.raises(ValueError, match="text.spm is no sentencepiece model, or damaged"):
        BEiT3Tokenizer(tmp_path / "text.spm", 30)
    t5 = train(tmp_path / "t5.spm", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    with pytest.raises(ValueError, match=r"have the ids \(2, -1, 1\); beit3.spm's have \(0, 1, 2\)"):
        BEiT3Tokenizer(t5, 30)
    foreign = train(tmp_path / "foreign.spm", ["кот спит на крыше дома", "собака бежит по дороге"], vocab_size=22)
    with pytest.raises(ValueError, match="unknown pieces in 'a dog on the beach'"):
        BEiT3Tokenizer(foreign, 24)
