import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import golden_files
from diptych.models.backbones.beit3 import BEiT3, BEiT3Sizes

FIXTURE = golden_files.COMMITTED / "beit3"
SIZES = BEiT3Sizes(
    width=16, hidden_dim=24, num_layers=2, num_heads=4, patch_size=4, grid=3, num_text_positions=12, vocabulary=30
)
IDS = torch.tensor([[0, 7, 9, 2, 1, 1], [0, 5, 6, 8, 11, 2]])
PADDING = IDS == 1


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def state():
    """Random tensors under the published keys, drawn from where every one of them matters."""
    generator = torch.Generator().manual_seed(0)
    shapes = {key: tensor.shape for key, tensor in BEiT3(SIZES).state_dict().items()}
    return {key: torch.randn(shape, generator=generator) * 0.5 for key, shape in shapes.items()}


@pytest.fixture
def write(tmp_path, state):
    """A checkpoint of the state with changes; None takes a key away."""

    def write(changes=(), name="model.pth", wrap="model"):
        tensors = {key: value for key, value in (state | dict(changes)).items() if value is not None}
        path = tmp_path / name
        if name.endswith(".safetensors"):
            save_file(tensors, path)
        else:
            torch.save({wrap: tensors} if wrap else tensors, path)
        return path

    return write


@pytest.fixture
def model(write):
    return BEiT3.from_checkpoint(write(), num_heads=4)


def pictures(side=12, number=2):
    return torch.randn(number, 3, side, side, generator=torch.Generator().manual_seed(1))


def by_hand(state, x, branch, head, heads=4):
    """The architecture's formulas for one sequence (T, D) without padding, in float64."""
    state = {key: value.double() for key, value in state.items()}
    x = x.double()

    def norm(x, key):
        return F.layer_norm(x, x.shape[-1:], state[f"{key}.weight"], state[f"{key}.bias"], 1e-5)

    def linear(x, key):
        return x @ state[f"{key}.weight"].T + state[f"{key}.bias"]

    for number in range(2):
        layer = f"beit3.encoder.layers.{number}"
        h = norm(x, f"{layer}.self_attn_layer_norm.{branch}")
        q, k, v = (linear(h, f"{layer}.self_attn.{name}_proj.{branch}").chunk(heads, dim=1) for name in "qkv")
        mixed = [(a @ b.T * a.shape[1] ** -0.5).softmax(1) @ c for a, b, c in zip(q, k, v, strict=True)]
        mixed = norm(torch.cat(mixed, dim=1), f"{layer}.self_attn.inner_attn_ln.{branch}")
        x = x + linear(mixed, f"{layer}.self_attn.out_proj.{branch}")
        h = linear(norm(x, f"{layer}.final_layer_norm.{branch}"), f"{layer}.ffn.{branch}.fc1")
        h = norm(h * (1 + torch.erf(h / 2**0.5)) / 2, f"{layer}.ffn.{branch}.ffn_layernorm")
        x = x + linear(h, f"{layer}.ffn.{branch}.fc2")
    out = state[f"{head}.weight"] @ norm(x, f"beit3.encoder.layer_norm.{branch}")[0]
    return (out / out.norm()).float()


# ------------------------------------------------------------------------------------------- values


def test_the_official_implementations_outputs():
    expected = load_file(FIXTURE / "tiny.expected.safetensors")
    model = BEiT3.from_checkpoint(FIXTURE / "tiny.pth", num_heads=4)
    assert (model.sizes.width, model.sizes.num_heads, model.sizes.vocabulary) == (32, 4, 120)
    images = model.encode_image(expected["pixel_values"])
    texts = model.encode_text(expected["input_ids"], expected["padding_mask"])
    torch.testing.assert_close(images, expected["image_embeds"], rtol=0, atol=1e-5)
    torch.testing.assert_close(texts, expected["text_embeds"], rtol=0, atol=1e-5)


def test_pictures_by_the_formulas(model, state):
    kernel, bias = state["beit3.vision_embed.proj.weight"], state["beit3.vision_embed.proj.bias"]
    embeddings = model.encode_image(pictures())
    assert embeddings.shape == (2, 16) and embeddings.dtype == torch.float32
    for picture, embedding in zip(pictures(), embeddings, strict=True):
        rows = [state["beit3.vision_embed.cls_token"][0, 0]]
        for top in (0, 4, 8):
            for left in (0, 4, 8):
                patch = picture[:, top : top + 4, left : left + 4]
                rows.append((kernel * patch).sum((1, 2, 3)) + bias)
        x = torch.stack(rows) + state["beit3.encoder.embed_positions.A.weight"][2:]
        torch.testing.assert_close(embedding, by_hand(state, x, "A", "vision_head"), rtol=0, atol=1e-5)


def test_texts_by_the_formulas_however_much_padding(model, state):
    embeddings = model.encode_text(IDS, PADDING)
    for ids, padding, embedding in zip(IDS, PADDING, embeddings, strict=True):
        words = ids[~padding]
        positions = state["beit3.encoder.embed_positions.B.weight"][2 : 2 + len(words)]
        x = state["beit3.text_embed.weight"][words] + positions
        torch.testing.assert_close(embedding, by_hand(state, x, "B", "language_head"), rtol=0, atol=1e-5)
    torch.testing.assert_close(model.encode_text(IDS, PADDING.long()), embeddings)  # 1 for True
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))


def test_positions_for_other_sizes_are_interpolated(model, state):
    table = state["beit3.encoder.embed_positions.A.weight"]
    torch.testing.assert_close(model._image_positions(3, 3), table[2:])
    square = table[3:].T.reshape(1, 16, 3, 3)
    larger = F.interpolate(square, size=(5, 5), mode="bicubic", align_corners=False)
    expected = torch.cat([table[2:3], larger[0].permute(1, 2, 0).reshape(25, 16)])
    torch.testing.assert_close(model._image_positions(5, 5), expected)
    assert model.encode_image(pictures(20)).shape == (2, 16)


def test_what_is_no_picture_is_refused(model):
    for shape in ((2, 3, 12, 13), (2, 1, 12, 12), (3, 12, 12), (2, 3, 0, 12)):
        with pytest.raises(ValueError, match=r"sides multiples of 4; they are \("):
            model.encode_image(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"normalised floats; they are torch.uint8"):
        model.encode_image(torch.zeros(1, 3, 12, 12, dtype=torch.uint8))


def test_a_mask_the_wrong_way_round_is_refused(model):
    for wrong in (~PADDING, torch.ones_like(PADDING)):
        with pytest.raises(ValueError, match="1 or True stands for padding"):
            model.encode_text(IDS, wrong)
    with pytest.raises(ValueError, match=r"they are \(2, 6\) and \(2, 5\)"):
        model.encode_text(IDS, PADDING[:, :5])


def test_texts_as_long_as_there_are_positions(model):
    longest = torch.full((1, 10), 5)
    assert model.encode_text(longest, torch.zeros(1, 10)).shape == (1, 16)
    with pytest.raises(ValueError, match="texts of 11 tokens: this model reads 1 to 10"):
        model.encode_text(torch.full((1, 11), 5), torch.zeros(1, 11))


# ------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize(
    ("name", "wrap"), [("a.pth", "model"), ("a.pth", "module"), ("a.pth", None), ("a.safetensors", None)]
)
def test_every_kind_of_file_gives_the_same_model(write, model, name, wrap):
    other = BEiT3.from_checkpoint(write(name=name, wrap=wrap), num_heads=4)
    assert other.sizes == SIZES and not other.training
    torch.testing.assert_close(other.encode_image(pictures()), model.encode_image(pictures()), rtol=0, atol=0)


def test_half_precision_files_become_float32(write, state):
    halves = {key: value.half() for key, value in state.items()}
    model = BEiT3.from_checkpoint(write(halves), num_heads=4)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_number_of_heads(write, state):
    assert BEiT3.from_checkpoint(write(), num_heads=2).sizes.num_heads == 2
    with pytest.raises(ValueError, match="a width of 16 has no 3 heads; give another num_heads"):
        BEiT3.from_checkpoint(write(), num_heads=3)
    with pytest.raises(ValueError, match=r"model\.pth: how many heads a width of 16 has cannot be told"):
        BEiT3.from_checkpoint(write())  # guessed wrong, it would give other embeddings without a word
    sizes = BEiT3Sizes(128, 8, 1, 2, 4, 1, 8, 8)
    path = write(dict.fromkeys(state) | BEiT3(sizes).state_dict())
    assert BEiT3.from_checkpoint(path).sizes == sizes  # heads of 64, as the published ones


@pytest.mark.parametrize(
    ("sizes", "num_tensors", "num_parameters"),
    [
        (BEiT3Sizes(768, 3072, 12, 12, 16, 24, 1024, 64010), 494, 222_458_881),
        (BEiT3Sizes(1024, 4096, 24, 16, 16, 24, 1024, 64010), 974, 675_188_737),
    ],
)
def test_the_published_models_have_these_tensors(sizes, num_tensors, num_parameters):
    with torch.device("meta"):
        state = BEiT3(sizes).state_dict()
    assert len(state) == num_tensors
    assert sum(tensor.numel() for tensor in state.values()) == num_parameters
    assert state["beit3.encoder.embed_positions.A.weight"].shape[0] == 579


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_head.weight": None, "logit_scale": None}, "2 keys are missing: logit_scale, vision_head.weight"),
        ({"mlm_head.bias": torch.zeros(3)}, "1 keys belong to no BEiT-3 retrieval model: mlm_head.bias"),
        ({"beit3.encoder.layers.1.ffn.B.fc2.bias": None}, "1 keys are missing: beit3.encoder.layers.1.ffn.B.fc2.bias"),
        ({"beit3.encoder.layers.1.ffn.B.fc2.bias": torch.zeros(5)}, r"fc2.bias' has shape \(5,\); .* be \(16,\)"),
        ({"beit3.encoder.embed_positions.A.weight": torch.zeros(11, 16)}, "8 patch positions are no square grid"),
        ({"beit3.vision_embed.proj.weight": None}, "proj.weight' must have 4 dimensions; it is missing"),
        ({"beit3.text_embed.weight": torch.zeros(30)}, r"have 2 dimensions; found shape \(30,\)"),
        ({"step": torch.tensor(3)}, "key 'step' holds no floating-point tensor"),
    ],
)
def test_a_checkpoint_that_is_not_exactly_one_is_refused(write, changes, message):
    with pytest.raises(ValueError, match=f"model.pth: .*{message}"):
        BEiT3.from_checkpoint(write(changes))


class Surprise:
    """What the published files hold beside tensors, in other words: an object."""


def test_a_file_with_more_than_tensors_says_how_to_convert_it(tmp_path, state):
    path = tmp_path / "published.pth"
    torch.save({"model": state, "args": Surprise()}, path)
    with pytest.raises(ValueError, match="holds more than tensors") as caught:
        BEiT3.from_checkpoint(path)
    command = str(caught.value).split('python -c "')[1].rstrip('"')
    for name in ("published.pth", "published.safetensors"):
        command = command.replace(f"'{name}'", repr(str(tmp_path / name)))
    exec(command)
    converted = BEiT3.from_checkpoint(tmp_path / "published.safetensors", num_heads=4)
    torch.testing.assert_close(converted.state_dict(), state, rtol=0, atol=0)


def test_a_file_that_is_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=r"none.pth: there is no such checkpoint file"):
        BEiT3.from_checkpoint(tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no tensors")
        with pytest.raises(ValueError, match=f"{name} .*damaged"):
            BEiT3.from_checkpoint(tmp_path / name)
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds a list, not tensors by name"):
        BEiT3.from_checkpoint(tmp_path / "list.pth")
