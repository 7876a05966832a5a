"""What an extra adds, where it is installed."""
import numpy as np
import pytest

from metapt_nb.cluster import project


def test_opentsne_keeps_planted_groups(tmp_path, monkeypatch):
    "Every point of a map by openTSNE is nearest its own group's centre; the same seed gives the same map."
    pytest.importorskip("openTSNE", reason="the extra 'tsne' is not installed")
    group = np.arange(300) % 3
    X = np.eye(5)[group] + .1*np.random.default_rng(0).standard_normal((300, 5))
    maps = []
    for name in ("a", "b"): # a cache each, so that it is computed twice
        monkeypatch.setenv("METAPT_CACHE", str(tmp_path/name))
        maps.append(project(X, "opentsne"))
    centres = np.stack([maps[0][group == g].mean(0) for g in range(3)])
    distances = np.linalg.norm(maps[0][:, None] - centres, axis=-1)
    assert (distances.argmin(1) == group).all()
    np.testing.assert_array_equal(*maps)
