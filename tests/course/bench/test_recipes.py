"""Both ways to train start from the same frozen network."""

import torch

from landmark.course.bench import measure, recipes


def test_sides_train_the_same_frozen_network(small, tmp_path):
    """Fails when one side learns more tensors than the other or starts from other weights."""
    root, table = recipes.files(tmp_path, 3, 64)
    made = {name: recipes.train_side(name, root, table, 64, 3, False) for name in measure.SIDES}
    plain = made["plain"].model
    frozen = [p for p in plain.parameters() if not p.requires_grad]
    assert len(frozen) == recipes.FROZEN
    last = {id(p) for p in plain.backbone.block7.parameters()}
    learning = [p for p in plain.parameters() if p.requires_grad and id(p) not in last]
    ours = [p for p in made["ours"].model.parameters() if p.requires_grad]
    assert sum(map(len, (frozen, learning))) == len(list(plain.parameters())) - 2, "all but one BatchNorm"
    assert all(torch.equal(a, b) for a, b in zip(learning, ours, strict=True))
    batch = next(made["ours"].views())
    assert batch.images.shape[1:] == (728, 4, 4), "maps of block 7, not images"
    seen = []
    made["ours"].model.rest.stages[0].register_forward_hook(lambda stage, given, result: seen.append(result))
    list(made["ours"].run(iter([batch, made["ours"].ready])))
    assert seen[0].shape == seen[1].shape, "it learns from either"
