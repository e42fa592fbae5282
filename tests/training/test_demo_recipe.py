"""The demo recipe: its files are what the exporter takes, its losses mean what they say."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the recipe needs torch, which this Python does not have")

from export.anomalyclip import fold_text  # noqa: E402
from export.clip_file import read_clip_file  # noqa: E402
from export.prompt_checkpoint import read_prompt_checkpoint  # noqa: E402
from training.demo_clip import (  # noqa: E402
    ARCHITECTURE,
    END,
    START,
    DemoClip,
    save_checkpoint,
    save_clip_file,
    start_from_patches,
    token_ids,
)
from training.fit import Recipe, learning_rate, to_tensor  # noqa: E402
from training.losses import image_loss, patch_loss  # noqa: E402


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def model():
    return DemoClip(generator())


def test_saved_files_are_read_by_the_exporter_and_belong_together(model, tmp_path):
    clip_path, checkpoint_path = tmp_path / "clip.pt", tmp_path / "epoch_1.pth"
    save_clip_file(model, clip_path)
    save_checkpoint(model, checkpoint_path, generator())
    clip, checkpoint = read_clip_file(clip_path), read_prompt_checkpoint(checkpoint_path)
    checkpoint.check_against(clip)
    assert clip.architecture == ARCHITECTURE
    assert (checkpoint.n_ctx, checkpoint.t_n_ctx, checkpoint.depth) == (12, 4, 2)
    with torch.no_grad():
        trained = model.text_features()
    # The CLIP file stores matrices in float16.
    torch.testing.assert_close(fold_text(clip, checkpoint), trained, atol=5e-3, rtol=0)


def test_prompts_have_anomalyclips_layout():
    ids = token_ids()
    assert ids.shape == (2, 77)
    assert ids[:, 0].tolist() == [START, START]
    assert ids.argmax(1).tolist() == [15, 16]
    assert ids.max().item() == END < ARCHITECTURE.vocab_size


def test_equal_seeds_give_equal_models_and_others_do_not(model):
    same, other = DemoClip(generator()), DemoClip(generator(1))
    assert torch.equal(same.visual.proj, model.visual.proj)
    assert not torch.equal(other.visual.proj, model.visual.proj)


def test_patch_embedding_starts_whitened(model):
    patches = torch.randn(4000, 768, generator=generator()) @ torch.diag(torch.linspace(0.2, 2, 768))
    fresh = DemoClip(generator())
    start_from_patches(fresh.visual, patches)
    answers = (patches - patches.mean(0)) @ fresh.visual.conv1.weight.flatten(1).T
    covariance = answers.T @ answers / len(answers)
    spread = covariance.diagonal().sqrt()
    assert spread.max() / spread.min() < 1.1
    assert (covariance - torch.diag(covariance.diagonal())).abs().max() < 0.05 * covariance.diagonal().min()


def logits_of(probability):
    return torch.stack([torch.zeros_like(probability), torch.logit(probability)], dim=-1)


def test_patch_loss_prefers_the_truth():
    coverage = torch.tensor([[0.0, 0.0, 0.5, 0.3]])
    right, wrong = torch.tensor([[0.1, 0.1, 0.9, 0.9]]), torch.tensor([[0.9, 0.9, 0.1, 0.1]])
    assert patch_loss(logits_of(right), coverage) < patch_loss(logits_of(wrong), coverage) / 5


def test_patches_that_are_only_grazed_do_not_count():
    coverage = torch.tensor([[0.0, 0.01, 0.5]])
    low, high = torch.tensor([[0.1, 0.1, 0.9]]), torch.tensor([[0.1, 0.9, 0.9]])
    assert patch_loss(logits_of(low), coverage) == patch_loss(logits_of(high), coverage)


def test_image_loss_prefers_the_truth():
    defective = torch.tensor([True, False])
    assert image_loss(logits_of(torch.tensor([0.9, 0.1])), defective) < 0.2
    assert image_loss(logits_of(torch.tensor([0.1, 0.9])), defective) > 2


def test_learning_rate_warms_up_and_ends_low():
    recipe = Recipe(steps=1000, warmup_steps=100, learning_rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(1, 1001)]
    assert rates[0] < 0.02
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates[-1] == pytest.approx(0.02, abs=1e-6)


def test_training_sees_what_the_line_sees():
    from edge.messages import PixelFormat
    from edge.preprocess import input_tensor
    from training.demo_clip import SETTINGS

    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    wanted = input_tensor(image, PixelFormat.RGB8, SETTINGS.preprocessing())
    np.testing.assert_allclose(to_tensor(image[None]).numpy(), wanted, atol=1e-6)
