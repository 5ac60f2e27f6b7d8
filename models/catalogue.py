"""What can be loaded: models by name, what they take and give, and what others published of them.

Numbers of this project are in docs/models.md; those here are of the sources that are named, none is
reproduced. MACs are counted (docs/models.md) or of specs/clip-native-encoders.md.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "Known"]

_RESULT_FILES = "MSR-VTT, text to video, without training; public result files of MTEB, 879 clips"
_PAPERS = "MSR-VTT 1k-A, text to video, trained on its 9k; the presets name the source"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A model, or all of one kind."""

    name: str
    given_as: str
    """What `--weights` and `model.weights` take."""
    family: str
    vector: str
    """Numbers of one; "": it has no single vector."""
    frames: str
    pixels: str
    licence: str
    """Of the weights, as their card says; "?": look there."""
    parameters: float | None = None
    """Millions."""
    text_gmacs: float | None = None
    video_gmacs: float | None = None
    """Of a clip with `frames` frames."""
    published: str = ""
    protocol: str = ""
    """What the published number is of, and where it is from."""

    @property
    def weights_gb(self) -> float | None:
        """Memory of the weights in fp32."""
        return None if self.parameters is None else round(self.parameters * 4 / 1000, 2)


def _trained(name: str, family: str, published: str, *, video_gmacs: float, by: float) -> Known:
    return Known(
        name=name,
        given_as="ViT-B-32.pt"
        + ("" if family == "frozen" else " to train from, or its checkpoint"),
        family=family,
        vector="512",
        frames="12, any number",
        pixels="crop 224",
        licence="MIT (CLIP)",
        parameters=by,
        text_gmacs=1.23,
        video_gmacs=video_gmacs,
        published=published,
        protocol=_PAPERS if published else "",
    )


CATALOGUE: tuple[Known, ...] = (
    _trained("CLIP ViT-B/32 as it is", "frozen", "", video_gmacs=49.4, by=151.3),
    _trained("CLIP4Clip, meanP", "clip4clip", "R@1 43.1", video_gmacs=49.4, by=151.3),
    _trained("CLIP4Clip, seqTransf", "clip4clip", "R@1 44.5", video_gmacs=49.5, by=163.9),
    Known(
        name="CLIP, MetaCLIP 2, CLIP4Clip of transformers",
        given_as="hf:FOLDER, hf:ORG/NAME of type clip, metaclip_2",
        family="frozen",
        vector="its own",
        frames="any number",
        pixels="its processor's, mostly crop",
        licence="?",
    ),
    Known(
        name="SigLIP, SigLIP 2",
        given_as="hf:google/siglip2-… of type siglip",
        family="frozen",
        vector="its own",
        frames="any number",
        pixels="squash",
        licence="Apache-2.0",
    ),
    Known(
        name="SigLIP 2 NaFlex",
        given_as="hf:google/siglip2-…-naflex of type siglip2",
        family="frozen",
        vector="its own",
        frames="any number",
        pixels="own proportions, at most 256 patches of 16",
        licence="Apache-2.0",
    ),
    Known(
        name="PE-core",
        given_as="hf:timm/PE-Core-…",
        family="frozen",
        vector="its own",
        frames="any number",
        pixels="squash",
        licence="Apache-2.0",
    ),
    Known(
        name="VideoPrism-LvT base",
        given_as="hf:FOLDER of type videoprism; transformers >= 5.13",
        family="frozen",
        vector="768",
        frames="exactly 16",
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
        pixels="native",
        licence="? (cards differ)",
        parameters=438.8,
        text_gmacs=5.6,
        video_gmacs=8_380,
    ),
    Known(
        name="PE-AV large (its video and text)",
        given_as="hf:FOLDER of type pe_audio_video, pe_video; transformers >= 5.0",
        family="frozen",
        vector="1024",
        frames="exactly 16 (…-16-frame), else up to 64, 2 a second",
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
