"""Bugs of TensorRT, publicly reported, that touch networks like ours.

Each says what was seen, not that it will happen here; the golden frames tell that. Issue numbers without a
name are those of NVIDIA/TensorRT.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownBug:
    """One report: the versions it names (each "major.minor", or longer), what was seen, and where.

    `compute_capability` limits it to one kind of GPU, None is any.
    """

    issue: str
    versions: tuple[str, ...]
    seen: str
    compute_capability: str | None = None

    def concerns(self, tensorrt: str, compute_capability: str) -> bool:
        """Whether the report names this version and does not exclude this GPU."""
        return self.compute_capability in (None, compute_capability) and any(
            (tensorrt + ".").startswith(version + ".") for version in self.versions
        )


BUGS = (
    KnownBug("#3908", ("10.0.1",), "SigLIP B/16-512 loses 3.2 points of accuracy"),
    KnownBug("#4723", ("10.3",), "DINOv3 ViT-B/16 in FP16 is wrong; 8.6.1 was right"),
    KnownBug("#4419", ("10.3",), "a transformer is wrong; 10.5 and 10.8 are right"),
    KnownBug(
        "depth-anything-tensorrt#49",
        ("10.3",),
        "a ViT is wrong on an AGX Orin; 10.12 on a PC is right",
        "8.7",
    ),
    KnownBug(
        "ros2-depth-anything-v3-trt#16",
        ("10.3",),
        "a ViT is unstable on JetPack 6.2; 10.16.1 in a container is right",
        "8.7",
    ),
    KnownBug("#4742", ("10.4",), "ViT-B/16 is wrong even in FP32, and FP16 gives not-a-number"),
    KnownBug("DEIMv2#112", ("10.4",), "a transformer is wrong; 10.6 is right"),
    KnownBug(
        "#4328, #4333",
        ("10.7",),
        "CLIP exported with scaled_dot_product_attention is wrong even in FP32; a scale on Q alone is right "
        "(our own exports have that, an imported network may not)",
    ),
    KnownBug(
        "isaac-ros-cli#22",
        ("10.13.3",),
        "holds no code for compute capability 8.7 and refuses to build",
        "8.7",
    ),
    KnownBug("#4837", ("10.16.1",), "fused attention is silently wrong on compute capability 12.0", "12.0"),
)


def known_bugs(tensorrt: str, compute_capability: str) -> tuple[KnownBug, ...]:
    """The reports that concern a version ("10.3.0") on a GPU ("8.7")."""
    return tuple(bug for bug in BUGS if bug.concerns(tensorrt, compute_capability))


def next_steps(precision: str) -> tuple[str, ...]:
    """What to try when an engine failed its golden frames, the cheapest first."""
    steps = ["Build with another --optimization-level: other kernels are chosen."]
    if precision == "fp16":
        steps.append(
            "On a PC, export the bundle again with the softmax in FP32, or with the first blocks that go wrong "
            "in FP32; 'adclip verify' names them. Attention is then not fused and the engine is slower."
        )
    steps.append(
        "Use another TensorRT: on JetPack 6 through a container (NGC images tagged -igpu hold 10.11), on "
        "JetPack 7.2 from the system (10.16)."
    )
    return tuple(steps)
