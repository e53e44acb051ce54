"""The attacks of the benchmark, once each, on stand-ins: they do what their names say, and the next request is answered."""

import pytest
from serving import fake_app, part, running, wait_until, wav
from synthetic import noise

from benchmarks.attacks import line, markdown
from benchmarks.hostile import ATTACKS, EMOTION, Target, index_bomb

LARGE = (
    "MP4 index bomb",
    "eight channels at 192 kHz",
    "32 x 299 s",
    "32 x 299 s, with words",
    "200 MB upload",
    "gzip of 100 MB",
    "endless body",
)


@pytest.fixture(scope="module")
def served():
    app = fake_app(fas_only=True)
    with running(app) as client:
        yield app, client, Target(client.base_url.port, noise(3.0), seconds=0.4)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in LARGE])
def test_after_an_attack_the_next_request_is_answered(served, name):
    app, client, target = served
    ATTACKS[name](target)
    assert client.post(EMOTION, json={"audio": part(wav())}).status_code == 200
    wait_until(lambda: app.state.gate.admitted == 0, 10)
    assert {budget.used for budget in vars(app.state.budgets).values()} == {0}


def test_index_bomb_is_a_container_that_claims_what_it_does_not_hold():
    av = pytest.importorskip("av")
    import io

    with av.open(io.BytesIO(index_bomb(1000))) as container:
        assert container.streams.audio[0].frames == 1000
    assert len(index_bomb()) < 5000


def test_report_says_what_was_kept():
    calm = {"requests": 9, "failed": 0, "p50_s": 0.1, "p95_s": 0.2}
    rss = {"before": 900.0, "peak": 1000.0, "after": 905.0}
    result = {"attack": "x", "rss_mb": rss, "honest": calm, "memory_back": True, "honest_in_time": True}
    assert line(result).endswith("| 0.10 | 0.20 | 0 of 9 | yes |")
    broken = result | {"memory_back": False}
    written = markdown({"machine": {"threads": 2, "load_average": 0.5}, "calm": calm, "attacks": [broken]})
    assert line(broken) in written and line(broken).endswith("no |") and "load average 0.5" in written
