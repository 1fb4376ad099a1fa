"""Fingerprints of tensors: they name a policy, an expert or an encoder for good."""

import hashlib

import pytest
import torch

from resdex_tasks.utils.tensors import fingerprint


def test_a_fingerprint_is_the_hash_of_texts_and_little_endian_values():
    values = b"\x00\x00\x80\x3f\x00\x00\x00\xc0"  # 1 and -2 as float32
    expected = hashlib.sha256(b"w" + values).hexdigest()[:12]
    assert fingerprint("w", torch.tensor([1.0, -2.0])) == expected
    assert fingerprint("w", torch.tensor([[1.0, 5.0], [-2.0, 5.0]])[:, 0]) == expected  # not contiguous


@pytest.mark.parametrize(
    "parts",
    [
        ("v", torch.tensor([1.0, -2.0])),
        ("w", torch.tensor([-2.0, 1.0])),
        ("w", torch.tensor([1.0, -2.0], dtype=torch.float64)),
        (torch.tensor([1.0, -2.0]), "w"),
    ],
)
def test_another_text_value_type_or_order_is_another(parts):
    assert fingerprint(*parts) != fingerprint("w", torch.tensor([1.0, -2.0]))
