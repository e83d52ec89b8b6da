"""The models that clipsearch knows by name, and how a name becomes an embedder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from clipsearch.errors import UnknownModelError
from clipsearch.models import hub
from clipsearch.models.embedder import Embedder

STARTER = "starter"
RECOMMENDED = "ViT-B-32-256/datacomp_s34b_b86k"
# As open_clip's table has it (a test compares them): the probe must not import torch.
RECOMMENDED_LOCATION = "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K/"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model worth choosing, with what it costs and how good it is.

    `parameters` are millions, `image_size` pixels, `coco_text_to_image_r1` percent of captions
    that find their photo first among the 5,000 of COCO's test split, `imagenet_zero_shot`
    percent of ImageNet's photos that are classified right. `source` says where the figures are
    from; None where nobody has published one.
    """

    name: str
    parameters: float
    image_size: int
    dimensions: int
    coco_text_to_image_r1: float | None
    imagenet_zero_shot: float | None
    licence: str
    source: str
    note: str


_OPEN_CLIP = "mlfoundations/open_clip f862f86: docs/openclip_{retrieval_,}results.csv"

KNOWN: tuple[KnownModel, ...] = (
    KnownModel(
        STARTER, 30.8, 260, 384, None, None, "Apache-2.0, MIT, WordNet 3.0",
        "clipsearch/models/data/README.md",
        "in every install, works offline; weaker than any CLIP",
    ),
    KnownModel(
        RECOMMENDED, 151.3, 256, 512, 39.9, 72.8, "MIT", _OPEN_CLIP,
        "recommended: the best of its cost",
    ),
    KnownModel(
        "ViT-B-32/openai", 151.3, 224, 512, 30.4, 63.3, "MIT", _OPEN_CLIP,
        "the first CLIP, for comparison",
    ),
    KnownModel(
        "ViT-B-32/laion2b_s34b_b79k", 151.3, 224, 512, 39.3, 66.6, "MIT", _OPEN_CLIP,
        "as fast as the first CLIP, trained on open data",
    ),
    KnownModel(
        "ViT-B-16/datacomp_xl_s13b_b90k", 149.6, 224, 512, 40.2, 73.5, "MIT", _OPEN_CLIP,
        "finer patches, about three times the work of ViT-B-32",
    ),
    KnownModel(
        "ViT-L-14/datacomp_xl_s13b_b90k", 427.6, 224, 768, 45.7, 79.2, "MIT", _OPEN_CLIP,
        "for a graphics card or patience: about twelve times the work of ViT-B-32",
    ),
    KnownModel(
        "ViT-B-16-SigLIP/webli", 203.2, 224, 768, 47.8, 76.0, "Apache-2.0", _OPEN_CLIP,
        'best retrieval of its size; needs `pip install "clipsearch[siglip]"`',
    ),
    KnownModel(
        "MobileCLIP-S1/datacompdr", 84.9, 256, 512, 44.0, 72.6,
        "apple-amlr: research only, read it before use",
        "apple/ml-mobileclip a2e4041: results/mobileclip_s1.jsonl, README.md",
        "small and strong; the licence excludes commercial use",
    ),
    KnownModel(
        "xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k", 366.1, 224, 512, 37.8, 62.4, "MIT",
        _OPEN_CLIP,
        'understands about a hundred languages; needs `pip install "clipsearch[siglip]"`',
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """The model that `auto` stands for; `reason` is a line for the user where it is the starter."""

    name: str
    reason: str | None


def parse(name: str) -> tuple[str, str]:
    """Split `ARCHITECTURE/WEIGHTS` into its halves; weights that begin with `/` are a file.

    Raises:
        UnknownModelError: the name is not of that form; the message offers the nearest names.
    """
    architecture, slash, weights = name.partition("/")
    if slash and architecture and weights:
        return architecture, weights
    near = _nearest(name) or [STARTER, RECOMMENDED]
    raise UnknownModelError(
        f"{name or 'an empty name'}: no model has that name, which is ARCHITECTURE/WEIGHTS or "
        f"{STARTER}; did you mean {', '.join(near)}?"
    )


def load(name: str, *, device: str = "auto", precision: str = "auto") -> Embedder:
    """Load the model of a name: `starter`, a known one, or any that open_clip has.

    Raises:
        UnknownModelError: no model has that name.
        WeightsError: the weights are missing, damaged or belong to another architecture.
        ModelError: the weights cannot be downloaded, or the device is not present.
    """
    if name == STARTER:
        from clipsearch.models.starter import StarterEmbedder

        return StarterEmbedder(device, precision)
    architecture, weights = parse(name)
    from clipsearch.models.openclip import OpenClipEmbedder

    return OpenClipEmbedder(architecture, weights, device=device, precision=precision)


def recommended_is_cached() -> bool:
    """Say whether the weights of the recommended model are in the hub's cache."""
    return hub.cached(*hub.files_of(RECOMMENDED_LOCATION)) is not None


def hub_answers() -> bool:
    """Say whether the hub has the recommended model to give, within some three seconds."""
    return hub.answers(hub.files_of(RECOMMENDED_LOCATION)[0])


def resolve_auto(
    *,
    is_cached: Callable[[], bool] = recommended_is_cached,
    answers: Callable[[], bool] = hub_answers,
) -> Choice:
    """Choose the recommended CLIP where its weights can be had, else the starter, and say why."""
    if is_cached() or answers():
        return Choice(RECOMMENDED, None)
    return Choice(
        STARTER,
        f"{RECOMMENDED} is not in the cache and the Hugging Face hub does not answer; using the "
        f"starter model, which is weaker: run `clipsearch models use {RECOMMENDED}` when online",
    )


def _nearest(name: str) -> list[str]:
    import open_clip

    # Known models first, each name once.
    names = list(
        dict.fromkeys(
            [model.name for model in KNOWN]
            + [f"{architecture}/{tag}" for architecture, tag in open_clip.list_pretrained()]
        )
    )
    halves = [other for other in names if other.partition("/")[0] == name.strip("/")]
    return halves[:3] or get_close_matches(name, names, n=3, cutoff=0.3)
