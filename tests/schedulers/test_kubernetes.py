"""pipelines/schedules/kubernetes_cronjob.yaml is what Kubernetes takes."""

from __future__ import annotations

import pytest
import yaml

from tests.pages import ROOT

kubernetes_validate = pytest.importorskip("kubernetes_validate")

FILE = ROOT / "pipelines" / "schedules" / "kubernetes_cronjob.yaml"


def test_the_manifest_has_kubernetes_schema() -> None:
    manifest = yaml.safe_load(FILE.read_text())
    kubernetes_validate.validate(manifest, "1.33", strict=True)
