"""The images and what runs beside them: files that are there, services that are declared, metrics that the server has."""

import json
import re
from itertools import chain

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from repository import ROOT

from fas_serve.metrics import Metrics

DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE = [DOCKER / "compose.yaml", DOCKER / "compose.cuda.yaml"]
LABELS = {"route": "/v1/emotion", "status": "200", "code": "x", "outcome": "answered", "kind": "prompt"}


def instructions(dockerfile) -> list[list[str]]:
    text = dockerfile.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split() for line in text.split("\n") if line and not line.startswith("#")]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_an_image_copies_is_there_and_not_ignored(dockerfile):
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().split("\n") if line.startswith("!")]
    sources = chain.from_iterable(line[1:-1] for line in instructions(dockerfile) if line[0] == "COPY")
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == name or source.startswith(f"{name}/") for name in kept), source
    (user,) = (line[1] for line in instructions(dockerfile) if line[0] == "USER")
    assert user.isdecimal() and user != "0"


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_installs_extras_that_there_are(dockerfile):
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (named,) = re.findall(r'^ARG EXTRAS="(.*)"$', dockerfile.read_text(), re.MULTILINE)
    assert set(named.split(",")) <= extras.keys()


def test_what_compose_mounts_and_builds_is_there_and_nothing_listens_beyond_loopback():
    services = [(name, s) for path in COMPOSE for name, s in yaml.safe_load(path.read_text())["services"].items()]
    assert {name for name, _ in services} == {"server", "prometheus", "grafana"}
    for _, service in services:
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for source in (volume.split(":")[0] for volume in service.get("volumes", [])):
            assert not source.startswith("./") or (DOCKER / source).exists(), source
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert "/docker/fas_api_key" in (ROOT / ".gitignore").read_text().split("\n")


def test_prometheus_asks_the_server_of_compose():
    (job,) = yaml.safe_load((DOCKER / "prometheus.yaml").read_text())["scrape_configs"]
    service, port = job["static_configs"][0]["targets"][0].split(":")
    server = yaml.safe_load(COMPOSE[0].read_text())["services"][service]
    assert any(mapping.endswith(f":{port}") for mapping in server["ports"])


def test_the_dashboard_shows_metrics_and_labels_that_the_server_has():
    metrics = Metrics()
    metrics.watch(type("Gate", (), {"working": 0, "admitted": 0}))
    for metric in (m for m in vars(metrics).values() if hasattr(m, "labels") and m._labelnames):
        metric.labels(**{name: LABELS[name] for name in metric._labelnames})
    samples = [s for family in text_string_to_metric_families(metrics.text().decode()) for s in family.samples]
    known = {sample.name: set() for sample in samples}
    for sample in samples:
        known[sample.name] |= set(sample.labels)
    shown = set()
    for panel in json.loads((DOCKER / "grafana/dashboards/fas.json").read_text())["panels"]:
        (target,) = panel["targets"]
        (name,) = re.findall(r"fas_\w+", target["expr"])
        shown.add(name)
        labels = re.findall(r"by \(([\w, ]+)\)", target["expr"])
        assert set(", ".join(labels).split(", ")) - {""} <= known[name], panel["title"]
    without_buckets = {name for name in known if not name.endswith(("_created", "_count", "_sum"))}
    assert shown == without_buckets
