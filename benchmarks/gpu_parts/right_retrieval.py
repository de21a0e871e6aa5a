"""Part 1, retrieval: the model and its gradients, the loss, gradient caching, ranking, features that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.contracts.models import Movable
from diptych.contracts.retrieval import ContrastiveEmbeddings, TripletBatch
from diptych.losses.info_nce import InfoNCE
from diptych.ranking.ranking import Ranking, rank
from gpu_parts.bench import Report, Setting, relative_error, worst_error
from gpu_parts.models import cir_model, clip_backbone, pictures, triplets

HOST = torch.device("cpu")
TRIPLETS, DROPOUT = 4, 0.1


def run(setting: Setting, report: Report) -> None:
    """Every line that must hold."""
    expected = cache(partial(_embedded, setting, HOST, torch.float64))
    for name, bf16, limit in (("fp32", False, 1e-4), ("bf16", True, 3e-2)):
        found = cache(partial(_embedded, setting, setting.device, torch.float32, bf16))
        for place, what in enumerate(("embeddings", "loss", "all gradients")):
            report.must(
                f"retrieval {name}: {what}", lambda p=place, f=found: relative_error(f()[p], expected()[p]), limit
            )
    report.must("InfoNCE with duplicates, loss and gradients", lambda: _info_nce(setting), 1e-6)
    report.must("gradient caching with dropout = the pieces at once", lambda: _gradient_caching(setting), 1e-5)
    report.must_be("ranking = the CPU's, with ties", lambda: ranks_alike(setting, *grid(setting, 200, 20_000, 64)))
    report.must_be("features in float16 are finite", lambda: _float16_features(setting))


def _embedded(
    setting: Setting, device: torch.device, dtype: torch.dtype, bf16: bool = False
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Embeddings, loss and all gradients of one batch."""
    model, loss = cir_model(setting).to(dtype).to(device), InfoNCE(learned=True).to(dtype).to(device)
    batch = triplets(setting, TRIPLETS, device=HOST).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        embeddings = model(batch)
        value = loss(embeddings, batch)["loss"]
    value.backward()
    return [embeddings.query, embeddings.target], [value], _gradients(model, loss)


def _gradients(*modules: nn.Module) -> list[Tensor]:
    """Of everything that is trained; a gradient that is missing is an error of its own."""
    named = [pair for module in modules for pair in module.named_parameters() if pair[1].requires_grad]
    without = [name for name, parameter in named if parameter.grad is None]
    if without:
        raise ValueError(f"no gradient of {', '.join(without[:3])}")
    return [parameter.grad for _, parameter in named if parameter.grad is not None]


def _info_nce(setting: Setting) -> Tensor:
    """Loss and gradients of 64 embeddings; in the batch a target occurs twice."""
    batch = triplets(setting, 64, device=HOST)
    torch.manual_seed(0)
    drawn = [F.normalize(torch.randn(64, 512), dim=-1) for _ in range(2)]
    found = _info_nce_of(batch, [part.to(setting.device) for part in drawn])
    return worst_error(found, _info_nce_of(batch, [part.double() for part in drawn]))


def _info_nce_of(batch: TripletBatch, drawn: Sequence[Tensor]) -> list[Tensor]:
    query, target = (part.detach().requires_grad_() for part in drawn)
    loss = InfoNCE().to(query.dtype).to(query.device)
    value = loss(ContrastiveEmbeddings(query, target), batch.to(query.device))["loss"]
    return [value, *torch.autograd.grad(value, [query, target])]


def _gradient_caching(setting: Setting) -> Tensor:
    """The gradients of a batch in two pieces, each computed again in the backward pass, against the same pieces whose
    graphs are kept, from the same random state: other dropout masks in the second pass are other gradients.
    """
    size = 2 * TRIPLETS
    batch = triplets(setting, size, device=HOST).to(setting.device)
    batch = replace(batch, reference_keys=torch.arange(size), target_keys=torch.arange(size) + size)
    model = cir_model(setting, DROPOUT).to(setting.device)
    loss = InfoNCE().to(setting.device)
    found: list[list[Tensor]] = []
    for cached in (True, False):
        torch.manual_seed(1)
        model.zero_grad()
        if cached:
            embeddings = model(batch, TRIPLETS)
        else:
            embedded = [model(_rows(batch, start, TRIPLETS)) for start in (0, TRIPLETS)]
            embeddings = ContrastiveEmbeddings(
                torch.cat([part.query for part in embedded]), torch.cat([part.target for part in embedded])
            )
        loss(embeddings, batch)["loss"].backward()
        found.append([gradient.clone() for gradient in _gradients(model)])
    return relative_error(*found)


def _rows(batch: TripletBatch, start: int, size: int) -> TripletBatch:
    """Some triplets of a batch."""
    rows = slice(start, start + size)
    parts = {name: value[rows] for name, value in vars(batch).items() if isinstance(value, (Tensor, tuple))}
    return replace(batch, **parts, text=_rows_of(batch.text, rows))


def _rows_of(part: Movable, rows: slice) -> Movable:
    return replace(part, **{name: value[rows] for name, value in vars(part).items() if isinstance(value, Tensor)})


def grid(setting: Setting, queries: int, gallery: int, width: int) -> tuple[Tensor, Tensor]:
    """Embeddings whose products are whole numbers that float32 holds and TF32 does not, so that every device has to
    give the same ranking; of the gallery's rows every tenth is another one's.
    """
    setting.needs_values("ranking decides by values")
    torch.manual_seed(0)
    queries, gallery = setting.of(queries, 8), setting.of(gallery, 300)
    largest = min(4095, 2**24 // (7 * width))
    left = torch.randint(-7, 8, (queries, width)).float()
    right = torch.randint(-largest, largest + 1, (gallery, width)).float()
    right[::10] = right[5::10][: len(right[::10])]
    return left, right


def ranks_alike(setting: Setting, queries: Tensor, gallery: Tensor) -> bool:
    """Whether the device ranks as the CPU, ties too."""
    return same_ranking(ranked(queries.to(setting.device), gallery.to(setting.device)), ranked(queries, gallery))


def ranked(queries: Tensor, gallery: Tensor) -> Ranking:
    """The first 50, and the ranks of two positions, one of them a repeated row's."""
    return rank(queries, gallery, k=50, relevant=[(10, place % len(gallery)) for place in range(len(queries))])


def same_ranking(ours: Ranking, theirs: Ranking) -> bool:
    """Positions, scores and ranks in every bit."""
    return (
        torch.equal(ours.positions.cpu(), theirs.positions.cpu())
        and torch.equal(ours.scores.cpu(), theirs.scores.cpu())
        and ours.relevant_ranks == theirs.relevant_ranks
    )


@torch.no_grad()
def _float16_features(setting: Setting) -> bool:
    """What the feature cache keeps of pictures and texts."""
    torch.manual_seed(0)
    backbone = clip_backbone(setting).to(setting.device)
    with setting.autocast():
        images = backbone.encode_image(pictures(setting, TRIPLETS, setting.device))
        words = backbone.encode_text(triplets(setting, TRIPLETS).text)
    kept = [*vars(images).values(), words.tokens, words.embedding]
    return all(bool(part.half().isfinite().all()) for part in kept)
