"""The course's proof that a killed run ends as a whole one does."""

from landmark.course.lessons import resuming


def test_killed_and_resumed(world, tmp_path, untouched):
    """Fails when a run whose process got a real SIGKILL ends with other weights than one go."""
    told = resuming.killed_and_resumed(world, tmp_path / "proof", steps=3)
    assert told["same_weights"] and told["same_log"] and told["killed_after"] in (2, 3)
