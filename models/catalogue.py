"""What can be loaded: models by name, what they take and give, and what others published of them.

Numbers of this project are in docs/models.md; those here are of the sources that are named, none is
reproduced. MACs are counted (docs/models.md) or of specs/clip-native-encoders.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["CATALOGUE", "Known"]

_RESULT_FILES = "MSR-VTT, text to video, without training; public result files of MTEB, 879 clips"
_PAPERS = "MSR-VTT 1k-A, text to video, trained on its 9k; the presets name the source"
_SK_NORM = f"{_PAPERS}; after SK-norm"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A model, or all of one kind."""

    name: str
    given_as: str
    """What `--weights` and `model.weights` take."""
    family: str
    vector: str
    """Numbers of one; "none": its scores compare more than two vectors."""
    frames: str
    pixels: str
    licence: str
    """Of the weights, as their card says; "?": look there."""
    parameters: float | None = None
    """Millions."""
    text_gmacs: float | None = None
    video_gmacs: float | None = None
    """Of a clip with `frames` frames."""
    row_kb: float | None = None
    """Of a video's features in its table, 1,000 bytes, in fp32."""
    preset: str = ""
    """What trains it."""
    published: str = ""
    protocol: str = ""
    """What the published number is of, and where it is from."""

    @property
    def weights_gb(self) -> float | None:
        """Memory of the weights in fp32."""
        return None if self.parameters is None else round(self.parameters * 4 / 1000, 2)


def _trained(
    name: str, preset: str, published: str = "", *, numbers: tuple[float, float, float], **more: Any
) -> Known:
    """A head on CLIP ViT-B/32, as its preset has it."""
    parameters, text, video = numbers
    ours: dict[str, Any] = {"vector": "512", "frames": "12, any number", "row_kb": 2.0}
    return Known(
        name=name,
        given_as="ViT-B-32.pt to train from, or its checkpoint",
        family=preset.partition("/")[0],
        preset=preset,
        pixels="crop 224",
        licence="MIT (CLIP)",
        parameters=parameters,
        text_gmacs=text,
        video_gmacs=video,
        published=f"R@1 {published}" if published else "",
        **ours | {"protocol": _PAPERS if published else ""} | more,
    )


def _framewise(name: str, given_as: str, *, pixels: str, licence: str) -> Known:
    """A kind of dual encoders that see one frame at a time, of many sizes."""
    return Known(
        name=name,
        given_as=given_as,
        family="frozen",
        vector="its own",
        frames="any number",
        pixels=pixels,
        licence=licence,
    )


_HEADS = (
    _trained(
        "CLIP4Clip, meanP",
        "clip4clip/msrvtt-9k-meanP-vit-b-32",
        "43.1",
        numbers=(151.3, 1.23, 49.4),
    ),
    _trained(
        "CLIP4Clip, seqTransf",
        "clip4clip/msrvtt-9k-seqTransf-vit-b-32",
        "44.5",
        numbers=(163.9, 1.23, 49.5),
    ),
    _trained(
        "CLIP2Video",
        "clip2video/msrvtt-9k-vit-b-32",
        "45.6",
        numbers=(170.2, 1.23, 49.8),
        vector="1024",
        row_kb=6.1,
    ),
    _trained(
        "X-CLIP",
        "xclip/msrvtt-9k-vit-b-32",
        "46.1",
        numbers=(164.5, 1.23, 49.5),
        vector="none",
        frames="up to 12, as trained",
        row_kb=26.6,
    ),
    _trained(
        "AdaCLIP",
        "adaclip/msrvtt-9k-vit-b-32",
        "45.1",
        numbers=(160.9, 1.23, 52.9),
        frames="16, keeps 12",
        row_kb=2.1,
    ),
    _trained(
        "TeachCLIP, its student",
        "teachclip/msrvtt-9k-vit-b-32",
        numbers=(164.2, 1.23, 49.5),
        row_kb=2.1,
    ),
    _trained(
        "X-Pool",
        "xpool/msrvtt-9k-vit-b-32",
        "46.9",
        numbers=(152.6, 3.0, 49.4),
        vector="none",
        row_kb=26.5,
    ),
    _trained("DRL, dp", "drl/msrvtt-9k-dp-vit-b-32", "43.9", numbers=(163.9, 1.23, 49.5)),
    _trained(
        "DRL, wti",
        "drl/msrvtt-9k-wti-vit-b-32",
        "47.6",
        numbers=(164.5, 1.24, 49.5),
        vector="none",
        row_kb=24.7,
    ),
    _trained(
        "TS2-Net",
        "ts2net/msrvtt-9k-vit-b-32",
        "47.0",
        numbers=(164.2, 1.23, 53.9),
        vector="none",
        frames="up to 19",
        row_kb=24.7,
    ),
    _trained(
        "UCoFiA",
        "ucofia/msrvtt-9k-vit-b-32",
        "49.4",
        numbers=(165.2, 1.24, 53.5),
        vector="none",
        protocol=_SK_NORM,
        frames="up to 12, as trained",
        row_kb=124.9,
    ),
)

CATALOGUE: tuple[Known, ...] = (
    Known(
        name="CLIP ViT-B/32 as it is",
        given_as="ViT-B-32.pt",
        family="frozen",
        vector="512",
        frames="12, any number",
        pixels="crop 224",
        licence="MIT (CLIP)",
        parameters=151.3,
        text_gmacs=1.23,
        video_gmacs=49.4,
        row_kb=2.0,
    ),
    *_HEADS,
    Known(
        name="X-Pool's baselines",
        given_as="ViT-B-32.pt to train from, or its checkpoint",
        family="xpool_baseline",
        vector="512; none with topk, attention",
        frames="12, any number",
        pixels="crop 224",
        licence="MIT (CLIP)",
        parameters=151.3,
        text_gmacs=1.23,
        video_gmacs=49.4,
    ),
    _framewise(
        "CLIP, MetaCLIP 2, CLIP4Clip of transformers",
        "hf:FOLDER, hf:ORG/NAME of type clip, metaclip_2",
        pixels="its processor's, mostly crop",
        licence="?",
    ),
    _framewise(
        "SigLIP, SigLIP 2",
        "hf:google/siglip2-… of type siglip",
        pixels="squash",
        licence="Apache-2.0",
    ),
    _framewise(
        "SigLIP 2 NaFlex",
        "hf:google/siglip2-…-naflex of type siglip2",
        pixels="own proportions, at most 256 patches of 16",
        licence="Apache-2.0",
    ),
    _framewise("PE-core", "hf:timm/PE-Core-…", pixels="squash", licence="Apache-2.0"),
    Known(
        name="VideoPrism-LvT base",
        given_as="hf:FOLDER of type videoprism; transformers >= 5.13",
        family="frozen",
        vector="768",
        frames="exactly 16",
        row_kb=3.1,
        pixels="squash 288",
        licence="Apache-2.0",
        parameters=247.6,
        text_gmacs=5.6,
        video_gmacs=616,
        published="R@1 50.1",
        protocol=_RESULT_FILES,
    ),
    Known(
        name="VideoPrism-LvT large",
        given_as="hf:FOLDER of type videoprism; transformers >= 5.13",
        family="frozen",
        vector="1024",
        frames="exactly 8",
        row_kb=4.1,
        pixels="squash 288",
        licence="Apache-2.0",
        parameters=579.9,
        text_gmacs=9.9,
        video_gmacs=835,
    ),
    Known(
        name="EmbeddingGemma-2",
        given_as="hf:FOLDER of type embedding_gemma2; transformers >= 5.19",
        family="frozen",
        vector="128 to 768",
        frames="up to 32, 1 a second",
        row_kb=3.1,
        pixels="native",
        licence="? (cards differ)",
        parameters=438.8,
        text_gmacs=5.6,
        video_gmacs=8_380,
    ),
    Known(
        name="PE-AV large",
        given_as="hf:FOLDER of type pe_audio_video, pe_video; transformers >= 5.0",
        family="frozen",
        vector="1024",
        frames="exactly 16 (…-16-frame), else up to 64, 2 a second",
        row_kb=4.1,
        pixels="squash 336, bilinear",
        licence="? (code Apache-2.0)",
        parameters=823.4,
        text_gmacs=10.9,
        video_gmacs=3_080,
    ),
    Known(
        name="Qwen3-VL-Embedding 2B",
        given_as="hf:FOLDER of type qwen3_vl with modules.json; transformers >= 5.0",
        family="frozen",
        vector="64 to 2048",
        frames="4 to 64, 1 a second",
        row_kb=8.2,
        pixels="native",
        licence="Apache-2.0",
        parameters=2127.5,
        text_gmacs=56,
        video_gmacs=16_800,
        published="R@1 55.6",
        protocol=_RESULT_FILES,
    ),
    Known(
        name="Qwen3-VL-Embedding 8B",
        given_as="hf:FOLDER of type qwen3_vl with modules.json; transformers >= 5.0",
        family="frozen",
        vector="64 to 4096",
        frames="4 to 64, 1 a second",
        row_kb=16.4,
        pixels="native",
        licence="Apache-2.0",
        parameters=8144.8,
        text_gmacs=278,
        video_gmacs=None,
        published="R@1 59.8",
        protocol=_RESULT_FILES,
    ),
)
"""In the order they are shown; Qwen's MACs are of 30 frames of 480p, PE-AV's of 16 frames."""
