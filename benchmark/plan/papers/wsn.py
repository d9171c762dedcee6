"""WSN (Kang et al., ICML 2022): its re-runs on the twenty superclasses of CIFAR-100 with LeNet."""

from __future__ import annotations

from benchmark.plan.tables import Part, Preset

TABLES = (
    Preset(
        "wsn-superclass",
        "twenty tasks of CIFAR-100 on LeNet, without BN: SupSup, WSN and PackNet",
        "cifar100-superclass",
        (Part(("supsup", "wsn", "packnet")),),
        selection="validation",
    ),
)
