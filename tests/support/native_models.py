"""Tiny models of transformers that see a clip as a clip, in folders, drawn wide enough to see it.

With the library's own initialisation a reversed clip has the same vector
(specs/clip-native-encoders.md 9).
"""

import json
import types
import unittest.mock

import torch

from reelvec.models.frozen.perception_towers import ImageSizes, ImageTower

SPECIALS = ("<pad>", "<unk>", "</s>")


def drawn_wide(model, *, seed=0):
    """Matrices from N(0, 1 / fan in), vectors near what they were; in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.randn(tensor.shape, generator=generator)
            if tensor.ndim >= 2:
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
            else:
                tensor.add_(0.2 * noise)
            if "query" in name and "pool" in name:
                tensor.mul_(3)
            if "per_dim_scale" in name:
                tensor.fill_(6.0)
    return model.eval()


def byte_tokenizer(*, specials=SPECIALS, around=()):
    """A byte-level BPE without merges: any text is its bytes; `specials` are one token each.

    `around`: the two that stand before and after every text.
    """
    import transformers
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: i for i, word in enumerate([*specials, *letters])}
    inner = Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(word, special=True) for word in specials])
    if around:
        marks = [(word, vocabulary[word]) for word in around]
        inner.post_processor = processors.TemplateProcessing(
            single=f"{around[0]} $A {around[1]}", special_tokens=marks
        )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=specials[0])


def videoprism(folder, *, frames=4):
    """Sees exactly `frames` frames of 36 x 36 pixels; vectors of 48 numbers."""
    import transformers

    both = {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 64}
    vision = {
        **both,
        "image_size": 36,
        "num_frames": frames,
        "num_spatial_layers": 2,
        "num_temporal_layers": 2,
        "num_auxiliary_layers": 1,
    }
    text = both | {"num_hidden_layers": 2, "vocab_size": 300, "max_position_embeddings": 24}
    config = transformers.VideoPrismConfig(text_config=text, vision_config=vision)
    model = drawn_wide(transformers.VideoPrismClipModel(config))
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return model


QWEN_MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")


def qwen3_vl(folder, *, with_head=True, words=(), tied=False):
    """Vectors of 32 numbers; saved as the published checkpoints are, language head and all.

    Args:
        folder: it is saved there.
        with_head: as of the chat model.
        words: that are one token each, beside the bytes.
        tied: the head's rows are the words' own vectors.
    """
    import transformers

    specials = ("<pad>", *QWEN_MARKS, "<|video_pad|>", "<|image_pad|>", *words)
    text = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "vocab_size": 300,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [4, 2, 2],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "depth": 3,
        "num_heads": 2,
        "out_hidden_size": 32,
        "patch_size": 16,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "deepstack_visual_indexes": [0, 1, 2],
        "num_position_embeddings": 2304,
    }
    config = transformers.Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        video_token_id=specials.index("<|video_pad|>"),
        image_token_id=specials.index("<|image_pad|>"),
        vision_start_token_id=specials.index("<|vision_start|>"),
        vision_end_token_id=specials.index("<|vision_end|>"),
        tie_word_embeddings=tied,
    )
    kind = transformers.Qwen3VLForConditionalGeneration if with_head else transformers.Qwen3VLModel
    model = drawn_wide(kind(config))
    model.save_pretrained(folder)
    byte_tokenizer(specials=specials).save_pretrained(folder)
    (folder / "modules.json").write_text(json.dumps([{"name": "0"}]))
    return model


def qwen3_vl_reranker(folder, *, tied=False):
    """The reranker is the chat model; it has no modules.json."""
    model = qwen3_vl(folder, words=("yes", "no"), tied=tied)
    (folder / "modules.json").unlink()
    return model


def embedding_gemma2(folder, *, hears=False):
    """Vectors of 24 numbers, frames of at most 70 tokens; with an audio tower, or without."""
    import transformers

    specials = ("<pad>", "<eos>", "<bos>", "<|image>", "<image|>", "<|image|>", "<|video|>")
    specials += ("<|audio>", "<audio|>", "<|audio|>") if hears else ()
    audio = {
        "model_type": "gemma4_audio",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "subsampling_conv_channels": [16, 8],
        "output_proj_dims": 24,
    }
    text = {
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "sliding_window": 16,
        "sliding_window_pattern": 2,
        "global_head_dim": 16,
        "num_global_key_value_heads": 1,
        "hidden_size_per_layer_input": 8,
        "embedding_dim": 24,
    }
    vision = {
        "model_type": "gemma4_vision",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "position_embedding_size": 64,
    }
    config = transformers.EmbeddingGemma2Config(
        text_config=text,
        vision_config=vision,
        audio_config=audio if hears else None,
        video_token_id=specials.index("<|video|>"),
        image_token_id=specials.index("<|image|>"),
        audio_token_id=specials.index("<|audio|>") if hears else 299,
    )
    model = drawn_wide(transformers.EmbeddingGemma2Model(config))
    model.save_pretrained(folder)
    byte_tokenizer(specials=specials).save_pretrained(folder)
    if hears:
        transformers.Gemma4AudioFeatureExtractor(feature_size=16).save_pretrained(folder)
    return model


def pe_video(folder, *, frames=5, hears=False):
    """PE-Video, or PE-AV with `hears`: `frames` frames of 28 x 28 pixels, vectors of 32 numbers.

    transformers builds the image tower with timm, which needs torchvision; here our own stands in
    its place, which goldens hold to timm's (tests/models/frozen/test_perception.py).
    """
    import transformers
    from transformers.models.pe_video import modeling_pe_video as modeling

    specials = ("<pad>", "<cls>", "<sep>")
    clip = {"intermediate_size": 48, "num_attention_heads": 2, "head_dim": 12}
    text = {
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "vocab_size": 300,
        "local_attention": 8,
        **dict(zip(("pad_token_id", "cls_token_id", "sep_token_id"), range(3), strict=True)),
    }
    tower = {"embed_dim": 64, "depth": 2, "num_heads": 4, "img_size": 28, "patch_size": 7}
    vision = {"architecture": "vit_pe_core_base_patch16_224", "num_labels": 24, "model_args": tower}
    video = clip | {"hidden_size": 40, "num_hidden_layers": 2, "vision_config": vision}
    if hears:
        dac = {"encoder_hidden_size": 4, "downsampling_ratios": [2, 4], "codebook_dim": 6}
        dac |= {"hidden_size": 16, "hop_length": 8}
        audio = clip | {"hidden_size": 40, "num_hidden_layers": 2, "dac_config": dac}
        both = clip | {"hidden_size": 44, "num_hidden_layers": 1}
        both |= {"audio_config": audio, "video_config": video}
        config = transformers.PeAudioVideoConfig(text_config=text, audio_video_config=both)
        kind = transformers.PeAudioVideoModel
    else:
        config = transformers.PeVideoConfig(text_config=text, video_config=video)
        kind = transformers.PeVideoModel
    with unittest.mock.patch.object(
        modeling.AutoModelForImageClassification, "from_config", return_value=_PeCore()
    ):
        model = drawn_wide(kind(config))
    model.save_pretrained(folder)
    byte_tokenizer(specials=specials, around=specials[1:]).save_pretrained(folder)
    settings = {"num_frames": frames, "size": {"height": 28, "width": 28}, "resample": 2}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(settings))
    return model


class _PeCore(torch.nn.Module):
    """Our image tower as transformers wraps timm's."""

    def __init__(self):
        super().__init__()
        sizes = ImageSizes(
            width=64,
            layers=2,
            heads=4,
            hidden=96,
            patch_size=7,
            grid=4,
            rotary_grid=14,
            class_token=True,
        )
        self.timm_model = ImageTower(sizes, embed_dim=24)

    def forward(self, pixels):
        return types.SimpleNamespace(logits=self.timm_model(pixels))


def naflex(folder, *, patches=12):
    """SigLIP 2 of any proportions: at most `patches` patches of 16; vectors of 32 numbers."""
    import transformers

    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    tower |= {"num_attention_heads": 2}
    text = tower | {"vocab_size": 300, "max_position_embeddings": 24, "projection_size": 32}
    vision = tower | {"num_patches": 16, "patch_size": 16}
    config = transformers.Siglip2Config(text_config=text, vision_config=vision)
    model = drawn_wide(transformers.Siglip2Model(config))
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    std = [0.5, 0.4, 0.6]
    images = transformers.Siglip2ImageProcessorPil(max_num_patches=patches, image_std=std)
    images.save_pretrained(folder)
    return model
