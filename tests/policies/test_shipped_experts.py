"""The experts that are shipped: one for each centre of the zoo's clusters, for k = 1 to 6."""

import pytest

from resdex_tasks.shapes.clusters import read_clusters
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.paths import CHECKPOINT_DIR
from runners.policies.checkpoint import Checkpoint
from runners.policies.experts import shipped_experts, stack_experts


@pytest.mark.parametrize("bundle", ["zoo", "shipped_k", "shipped_k0", "shipped_k7", "k4", ""])
def test_a_bundle_that_is_not_shipped_is_named(bundle):
    with pytest.raises(UserError, match=f"experts is '{bundle}'.*shipped_k1"):
        shipped_experts(bundle)


def test_shipped_bundles_hold_the_centres_of_their_clusters():
    assert shipped_experts() == shipped_experts("shipped_k4")
    for k in range(1, 7):
        names = shipped_experts(f"shipped_k{k}")
        centres = [group.centre for group in read_clusters(CHECKPOINT_DIR / f"zoo_clusters_k{k}.yaml").clusters]
        bundle = stack_experts([Checkpoint.read(name) for name in names])
        assert bundle.spec.objects == tuple(centres) and len(centres) == k
