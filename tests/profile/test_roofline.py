"""The limits of the machine: measured, kept, and what follows from them."""

import pytest

from graphexec.profile import roofline as module
from graphexec.profile.roofline import FOOTPRINTS, Machine, measure


def test_the_roofline():
    m = Machine(1, {"float32": 100e9, "float64": 50e9}, ((1000, 10e9), (1_000_000, 1e9)))
    assert m.seconds(100e9, 0) == 1.0
    assert m.seconds(100e9, 0, "float64") == 2.0
    assert m.seconds(0, 1000) == pytest.approx(1e-7)
    assert m.seconds(0, 1001) == pytest.approx(1.001e-6)  # it no longer fits
    assert m.seconds(0, 5_000_000) == pytest.approx(5e-3)
    assert m.seconds(1e6, 1000) == pytest.approx(1e-5)
    assert "100 GFLOP/s float32" in str(m)


def test_limits_are_measured_once(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHEXEC_CACHE_DIR", str(tmp_path / "limits"))
    module.cache.directory.cache_clear()
    try:
        first = measure(2)
        assert first.threads == 2
        assert [n for n, _ in first.bandwidth] == list(FOOTPRINTS)
        assert first.peak["float32"] > 1e8
        assert 1.2 < first.peak["float32"] / first.peak["float64"] < 3.5  # vectors hold twice as many
        assert all(rate > 1e7 for _, rate in first.bandwidth)
        monkeypatch.setattr(module.peak_flops, "peak", lambda dtype: pytest.fail("measured again"))
        assert measure(2) == first
        one = measure(1)
        assert all(two >= rate for (_, two), (_, rate) in zip(first.bandwidth, one.bandwidth, strict=True))
    finally:
        module.cache.directory.cache_clear()
