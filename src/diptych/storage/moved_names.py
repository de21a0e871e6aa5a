"""Names of classes that lie in checkpoints, run folders and manifests, and where the classes are since."""

from __future__ import annotations

from typing import Any

_TRIPLETS = ("augmentation", "cir_datamodule", "circo", "cirr", "cirr_rewritten", "fashioniq", "hotel_cir")
_NEWS = ("embedding_cache", "evidence", "fusion_preparation", "key_facts", "news_datamodule", "openevents", "prompt")
_CAPTION_METRICS = (
    "article_retrieval",
    "bleu",
    "cider",
    "clip_score",
    "clip_score_windowed",
    "clip_scorer",
    "entities",
    "length",
    "meteor",
    "ref_clip_score",
    "rouge_l",
    "unsupported_entity_rate",
)
_RETRIEVAL_METRICS = ("map_at_k", "median_rank", "recall_at_k", "recall_subset_at_k")
_NEWS_STAGES = (
    "articles",
    "copy_captions",
    "describe",
    "describe_by_server",
    "embed_photos",
    "ensemble",
    "retrieve_images",
    "verify_geometry",
)
_ANNOTATION_STAGES = (
    "asking",
    "audit_triplets",
    "combine",
    "describe_reference",
    "describe_target",
    "export_triplets",
    "fetch_images",
    "filter_by_agreement",
    "one_stage",
    "propose_pairs",
    "verify_sentences",
    "write_modifications",
)
_COMPOSERS = ("baseline_composers", "cross_attention_composer")

# Modules below `diptych` that a config of checkpoint format 1, or a manifest, may name, and where they are since.
MOVED = {
    **{f"data.{name}": f"data.triplets.{name}" for name in (*_TRIPLETS, "triplet_jsonl")},
    **{f"data.{name}": f"data.news.{name}" for name in _NEWS},
    "data.image_folder": "data.pairs.image_folder",
    **{
        f"data.{world}.{name}": f"synthetic.{world}.{name}"
        for world in ("rooms", "newsroom")
        for name in ("generate", "source")
    },
    **{f"metrics.{name}": f"metrics.captions.{name}" for name in _CAPTION_METRICS},
    **{f"metrics.{name}": f"metrics.retrieval.{name}" for name in _RETRIEVAL_METRICS},
    **{f"models.{name}": f"models.composers.{name}" for name in _COMPOSERS},
    **{f"models.{name}": "models.composers.good4cir" for name in ("good4cir_composer", "composers.good4cir_composer")},
    **{f"models.{name}": f"models.fuser.{name}" for name in ("chat_tokenizer", "qlora_fuser")},
    **{f"models.askers.{name}": f"annotation.askers.{name}" for name in ("batch", "local", "online")},
    "models.vlm_client": "models.server.vlm_client",
    "named_entities": "text.named_entities",
    "sharding": "parallel.sharding",
    **{f"stages.{name}": f"stages.news.{name}" for name in _NEWS_STAGES},
    **{f"stages.{name}": f"stages.annotation.{name}" for name in _ANNOTATION_STAGES},
    "trained_encoder": "config.trained_encoder",
}


def moved_target(target: str) -> str:
    """The `_target_` under its present name; one that did not move comes back as it is."""
    module, _, name = target.removeprefix("diptych.").rpartition(".")
    return f"diptych.{MOVED[module]}.{name}" if target.startswith("diptych.") and module in MOVED else target


def with_moved_names(node: Any) -> Any:
    """A plain container in which every `_target_` stands under its present name."""
    if isinstance(node, dict):
        return {
            key: moved_target(value) if key == "_target_" and isinstance(value, str) else with_moved_names(value)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [with_moved_names(value) for value in node]
    return node
