"""GLIDE's texts: lower case and padded by the U-Net's rule, start and end by CLIP's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.models.convert.tokens import clip_tokens, unet_tokens
from tests.unit.apps import pipelines
from tests.unit.models.convert.glide import gpt2_tokenizer


def test_a_text_is_in_lower_case_and_padded_with_the_last_token(tmp_path: Path) -> None:
    words = gpt2_tokenizer(tmp_path)
    tokens, mask = unet_tokens(
        tmp_path, ["A red cube", "a RED cube", "", "a red cube " * 9], words, 6
    )
    assert torch.equal(tokens[0], tokens[1])
    real = int(mask[0].sum())
    assert 0 < real < 6
    assert bool((tokens[0, real:] == words - 1).all())
    assert bool(mask[0, :real].all())
    assert not bool(mask[2].any())
    assert bool((tokens[2] == words - 1).all())
    assert bool(mask[3].all())
    assert torch.equal(tokens[3, :real], tokens[0, :real])


def test_clip_reads_from_the_start_to_the_end_of_a_text(tmp_path: Path) -> None:
    tokenizer = pipelines.tokenizer()
    tokenizer.save_pretrained(tmp_path)
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    tokens, lengths = clip_tokens(tmp_path, ["a cube", "", "cube " * 20], 60, 8)
    assert lengths.tolist() == [7, 2, 8]
    for row, length in zip(tokens, lengths.tolist(), strict=True):
        assert int(row[0]) == start
        assert int(row[length - 1]) == end
        assert not bool(row[length:].any())


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    words = gpt2_tokenizer(tmp_path / "gpt2")
    with pytest.raises(UserError, match="GLIDE's is that of GPT-2"):
        unet_tokens(tmp_path / "gpt2", ["a cube"], words + 1, 6)
    pipelines.tokenizer().save_pretrained(tmp_path / "clip")
    with pytest.raises(UserError, match="reads those of CLIP"):
        clip_tokens(tmp_path / "clip", ["a cube"], 53, 6)
    with pytest.raises(UserError, match="no folder"):
        unet_tokens(tmp_path / "none", ["a cube"], words, 6)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"vocab\.json"):
        clip_tokens(tmp_path / "empty", ["a cube"], 100, 6)
