"""One measurement: all contenders at one batch size, as rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from benchmark.perf.contenders import Contender, NotAvailable, OnePass, Session, fine_tuning
from benchmark.perf.floor import Rates, count_step
from benchmark.perf.memory import with_peak
from benchmark.perf.rounds import Ratio, Series, interleaved, paired_ratio
from benchmark.perf.shares import PARTS, shares

Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One contender at one batch size. Times in milliseconds per step; ratios are medians over rounds.

    Attributes:
        ratio_to_finetune: to full fine-tuning with the same optimizer in the same round; None for what cannot be
            compared (another network).
        bn_policy: "" for peers.
        shares: fraction of a step by part, {} where it was not instrumented.
        trained: numbers that a step updates; None for peers.
        floor_ms: the larger of arithmetic and traffic at the device's rates; None for peers.
    """

    name: str
    kind: str
    optimizer: str
    bn_policy: str
    batch_size: int
    times: Series
    ratio_to_finetune: Ratio | None
    ratio_of_lowest: float | None
    shares: dict[str, float]
    peak_bytes: int
    trained: int | None
    flops: int | None
    traffic_bytes: int | None
    floor_ms: float | None

    @property
    def images_per_second(self) -> float:
        """At the median step."""
        return self.batch_size * 1000 / self.times.median


def measure(contenders: Sequence[Contender], repeats: int, rates: Rates, say: Say) -> list[Row]:
    """Build, warm up, time in rounds, then instrument. A contender that is not available is said and left out."""
    if contenders[0].workload.device.type == "cuda":
        _discard(contenders[0])
    built: dict[str, OnePass] = {}
    peaks: dict[str, int] = {}
    kept: list[Contender] = []
    for contender in contenders:

        def prepare(contender: Contender = contender) -> OnePass:
            one_pass = contender.make(contender.workload)
            one_pass()
            return one_pass

        try:
            built[contender.name], peaks[contender.name] = with_peak(prepare, contender.workload.device)
            kept.append(contender)
        except NotAvailable as reason:
            say(f"{contender.name}: not measured, {reason}")
    workload = kept[0].workload
    series = interleaved(built, workload.steps, repeats, workload.synchronise)
    for contender in kept:
        if contender.epochs > 1:
            times = series[contender.name].milliseconds
            series[contender.name] = Series(tuple(time / contender.epochs for time in times))
    return [_row(contender, series, built[contender.name], peaks[contender.name], rates) for contender in kept]


def _discard(contender: Contender) -> None:
    """Build one and drop it: what a GPU's libraries allocate once, whoever is first, is nobody's peak memory."""
    with suppress(NotAvailable):
        contender.make(contender.workload)()


def _row(contender: Contender, series: dict[str, Series], one_pass: OnePass, peak: int, rates: Rates) -> Row:
    times, workload = series[contender.name], contender.workload
    yardstick = series.get(fine_tuning(workload, contender.optimizer).name)
    comparable = yardstick is not None and "no BN" not in contender.name
    ratio = paired_ratio(times, yardstick) if yardstick and comparable else None
    parts: dict[str, float] = {}
    step = None
    if isinstance(one_pass, Session):
        parts = shares(one_pass, workload.synchronise)
        step = count_step(one_pass, workload)
    return Row(
        contender.name,
        contender.kind,
        contender.optimizer,
        workload.spec.bn_policy if contender.kind == "method" else "",
        workload.batch_size,
        times,
        ratio,
        times.lowest / yardstick.lowest if yardstick and comparable else None,
        {part: parts[part] for part in PARTS} if parts else {},
        peak,
        step.trained if step else None,
        step.flops if step else None,
        step.bytes if step else None,
        max(step.milliseconds(rates)) if step else None,
    )
