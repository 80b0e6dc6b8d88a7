"""The checkpoint layouts of image models, bound to the tasks they serve."""

from __future__ import annotations

from anyformer.families import Family
from anyformer_vision.families import detr, timm_vit, vit, yolos

TOKENIZER = "vision/patches"
CLASSIFICATION = "vision/image-classification"
EMBEDDING = "vision/image-embedding"
DETECTION = "vision/object-detection"

VIT = Family(
    {"model_type": "vit"}, vit.VIT, vit.vit, {
        "ViTForImageClassification": vit.classifier(CLASSIFICATION),
        "ViTModel": vit.encoder(EMBEDDING),
    }, TOKENIZER, "vit.", vit.ASSUMED,
)  # fmt: skip
DEIT = Family(
    {"model_type": "deit"}, vit.DEIT, vit.deit, {
        "DeiTForImageClassification": vit.classifier(CLASSIFICATION),
        "DeiTForImageClassificationWithTeacher": vit.classifier(
            CLASSIFICATION, "each", ("cls_classifier", "outputs.0"), ("distillation_classifier", "outputs.1"),
        ),
        "DeiTModel": vit.encoder(EMBEDDING),
    }, TOKENIZER, "deit.", vit.ASSUMED,
)  # fmt: skip
DINOV2 = Family(
    {"model_type": "dinov2"}, vit.DINOV2, vit.dinov2, {
        "Dinov2ForImageClassification": vit.classifier(CLASSIFICATION, "beside", ("classifier", "outputs.0")),
        "Dinov2Model": vit.encoder(EMBEDDING),
    }, TOKENIZER, "dinov2.", vit.ASSUMED_DINOV2,
)  # fmt: skip
TIMM_VIT = Family(
    {"architecture": timm_vit.NAMES}, timm_vit.fields(1), timm_vit.weights, {
        "VisionTransformer": timm_vit.classifier(CLASSIFICATION, "first", ("head", "output")),
        "VisionTransformerBare": timm_vit.encoder(EMBEDDING),
    }, TOKENIZER,
)  # fmt: skip
TIMM_VIT_BARE = Family(
    {"architecture": timm_vit.NAMES, "num_classes": 0}, timm_vit.fields(1), timm_vit.weights,
    {"VisionTransformerBare": timm_vit.encoder(EMBEDDING)}, TOKENIZER,
)  # fmt: skip
TIMM_DEIT = Family(
    {"architecture": timm_vit.DISTILLED_NAMES}, timm_vit.fields(2), timm_vit.distilled, {
        "VisionTransformerDistilled": timm_vit.classifier(
            CLASSIFICATION, "each", ("head", "outputs.0"), ("head_dist", "outputs.1"),
        ),
        "VisionTransformerBare": timm_vit.encoder(EMBEDDING),
    }, TOKENIZER,
)  # fmt: skip
TIMM_DEIT_BARE = Family(
    {"architecture": timm_vit.DISTILLED_NAMES, "num_classes": 0}, timm_vit.fields(2), timm_vit.distilled,
    {"VisionTransformerBare": timm_vit.encoder(EMBEDDING)}, TOKENIZER,
)  # fmt: skip
DETR = Family(
    {"model_type": "detr"}, detr.FIELDS, detr.weights, {"DetrForObjectDetection": detr.detector(DETECTION)},
    "vision/pixels", "model.", detr.ASSUMED,
)  # fmt: skip
YOLOS = Family(
    {"model_type": "yolos"}, yolos.FIELDS, yolos.weights, {"YolosForObjectDetection": yolos.detector(DETECTION)},
    "vision/pixels", "vit.", yolos.ASSUMED,
)  # fmt: skip

FAMILIES = {
    "vit": VIT, "deit": DEIT, "dinov2": DINOV2, "timm-vit": TIMM_VIT, "timm-vit-bare": TIMM_VIT_BARE,
    "timm-deit-distilled": TIMM_DEIT, "timm-deit-distilled-bare": TIMM_DEIT_BARE, "detr": DETR, "yolos": YOLOS,
}  # fmt: skip
