"""The figures of ``bench.figures`` as Markdown tables, and a document that has places for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from config.errors import SettingsError

Figures = dict[str, Any]
"""What ``bench.figures.measure`` gives: plain values."""


def refreshed(text: str, figures: Figures) -> str:
    """The document with the tables between its marks, ``<!-- NAME -->`` and ``<!-- /NAME -->``,
    made anew; those of parts that were not measured stay. Raises SettingsError."""
    for name, lines in tables(figures).items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SettingsError(f"the document has no marks {start.strip()} and {end}")
        body = "\n".join(lines)
        text = f"{before}{start}\n{body}\n\n{end}{after}"
    return text


def tables(figures: Figures) -> dict[str, list[str]]:
    """Mark -> lines of Markdown."""
    found = {"run": _run_lines(figures)}
    if "reference" in figures:
        found["reference"] = _reference_lines(figures["reference"])
    if "pipeline" in figures:
        found["pipeline"] = _pipeline_lines(figures["pipeline"])
        found["glass"] = _glass_lines(figures["pipeline"])
    if "peaks" in figures:
        found["peaks"] = _table(
            ["threads", "fp32 GMAC/s", "int8 GMAC/s", "copy GB/s"],
            [
                [str(one["threads"]), *(f"{one[key]:.0f}" for key in _PEAK)]
                for one in figures["peaks"]
            ],
        )
        found["stages"] = _stage_lines(figures["stages"])
    if "growth" in figures:
        found |= _growth_lines(figures["growth"])
    if {"reference", "pipeline"} <= figures.keys():
        found["bar"] = _bar_lines(figures)
    return found


_PEAK = ("fp32_gmacs", "int8_gmacs", "copy_gb_s")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _run_lines(figures: Figures) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    lines = [f"{figures['date']}, `{figures['command']}`", "", figures["machine"], "", packages]
    if figures.get("note"):
        lines += ["", f"**{figures['note']}**"]
    return lines


def _reference_lines(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for row in found["rows"]:
        most = "" if row["max_abs"] is None else f"{row['max_abs']:.1e}"
        psnr = "" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}"
        rows.append(
            [
                f"{row['name']}: {row['network']} {row['precision']}, {row['provider']}",
                f"{row['ms']:.1f}", f"{1000 / row['ms']:.1f}", f"{row['ratio']:.2f}", most, psnr,
            ]
        )  # fmt: skip
    lines = _table(["", "ms", "fps", "x reference", "max abs", "PSNR dB"], rows)
    if found["golden_max_abs"] is not None:
        lines += [
            "",
            "fp32 against what the published code answers to pictures not rounded to uint8: "
            f"max abs {found['golden_max_abs']:.1e}.",
        ]
    return lines


def _pipeline_lines(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, report in found.items():
        whole, change = report["pipeline"], report["pipeline"]["avatar_change"]
        summary, step = whole["summary"], report["model"]["step"]
        joules = whole["energy"]["joules"]
        rows.append(
            [
                f"{name} ({report['bundle']['precision']}, {report['provider']})",
                f"{step['p50_ms']:.1f} / {step['p99_ms']:.1f}",
                f"{summary['fps']:.1f}",
                " / ".join(f"{summary['age'][key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
                f"{whole['jitter_ms']:.1f}",
                str(summary["dropped"]),
                f"{whole['process_ms']:.0f}",
                f"{change['shown_ms']:.0f} / {change['gap_ms']:.0f}" if change else "not seen",
                f"{summary['cpu_percent']:.0f}",
                "not told" if joules is None else f"{joules / max(summary['delivered'], 1):.2f}",
                f"{whole['memory_mb']:.0f}",
            ]
        )  # fmt: skip
    head = ["", "networks ms p50 / p99", "fps", "frame age ms p50 / p95 / p99", "jitter ms"]
    head += ["dropped", "first picture ms", "other avatar ms / gap ms", "processor %", "J a frame"]
    return _table([*head, "MB"], rows)


def _glass_lines(found: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            f"{name}, {glass['receiver']}",
            " / ".join(f"{glass['age'][key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
            f"{glass['jitter_ms']:.1f}",
            str(glass["new"]),
            str(glass["missed"]),
            str(glass["unreadable"]),
            f"{glass['first_ms']:.0f}",
        ]
        for name, report in found.items()
        for glass in report["glass"]
    ]
    head = ["", "picture age ms p50 / p95 / p99", "jitter ms", "new", "missed", "unreadable"]
    return _table([*head, "first ms"], rows)


def _stage_lines(found: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            f"{bundle}: {one['graph']}{'' if one['stage'] == 'all' else ', ' + one['stage']}",
            f"{one['gmac']:.2f}",
            f"{one['megabytes']:.1f}",
            f"{one['limit_ms']:.1f}",
            f"{one['ms']:.1f}",
            f"{100 * one['share']:.0f} %",
        ]
        for bundle, stages in found.items()
        for one in stages
    ]
    return _table(["", "GMAC", "MB", "limit ms", "measured ms", "share"], rows)


def _growth_lines(found: Mapping[str, Any]) -> dict[str, list[str]]:
    graphs = ("avatar_ms", "keypoints_ms", "frame_ms")
    names = ["avatar ms, once", "keypoints ms", "frame ms"]

    def times(rows: Sequence[Mapping[str, Any]], key: str) -> list[list[str]]:
        return [[str(row[key]), *(f"{row[one]:.1f}" for one in graphs)] for row in rows]

    return {
        "size": _table(["pixels", *names], times(found["size"], "size")),
        "keypoints": _table(["K", *names], times(found["keypoints"], "num_keypoints")),
        "threads": _table(
            ["default bundle, threads", *names],
            [
                [f"{row['precision']}, {row['threads']}", *(f"{row[one]:.1f}" for one in graphs)]
                for row in found["threads"]
            ],
        ),
        "avatars": _table(
            ["avatars", "ready after s", "MB", "change ms", "step ms"],
            [
                [
                    str(row["avatars"]), f"{row['start_s']:.1f}", f"{row['memory_mb']:.0f}",
                    f"{row['change_ms']:.0f}", f"{row['step_ms']:.1f}",
                ]
                for row in found["avatars"]
            ],
        ),
        "streams": _table(
            ["streams of 30 fps", "threads each", "fps each", "frame age p50 ms, worst", "MB"],
            [
                [
                    str(row["streams"]), str(row["threads_each"]), f"{row['fps_each']:.1f}",
                    f"{row['age_p50_ms']:.0f}", f"{row['memory_mb']:.0f}",
                ]
                for row in found["streams"]
            ],
        ),
    }  # fmt: skip


def _bar_lines(figures: Figures) -> list[str]:
    """What was promised, what was measured, and whether that is it."""
    rows: list[list[str]] = []

    def line(what: str, found: float | None, wanted: float, *, most: bool = False) -> None:
        if found is None:
            rows.append([what, "not measured", f"{wanted:g}", ""])
            return
        good = found <= wanted if most else found >= wanted
        sign = "<=" if most else ">="
        rows.append([what, f"{found:.4g}", f"{sign} {wanted:g}", "yes" if good else "**no**"])

    def way(network: str, precision: str, provider: str, key: str) -> float | None:
        for row in figures["reference"]["rows"]:
            if row["name"] == "puppetcam" and (row["network"], row["precision"]) == (
                network, precision,
            ) and row["provider"].startswith(provider):  # fmt: skip
                value = row[key]
                return None if value is None else float(value)
        return None

    ort, openvino = "onnxruntime", "openvino"
    line("vox-256 fp32, x reference", way("vox-256", "fp32", ort, "ratio"), 1.6)
    line("vox-256 fp32, max abs", way("vox-256", "fp32", ort, "max_abs"), 1e-3, most=True)
    line("vox-256 int8, ONNX Runtime, x reference", way("vox-256", "int8", ort, "ratio"), 3.5)
    line("vox-256 int8, OpenVINO, x reference", way("vox-256", "int8", openvino, "ratio"), 4.5)
    line("vox-256 int8, ONNX Runtime, PSNR dB", way("vox-256", "int8", ort, "psnr_db"), 30)
    line("vox-256 int8, OpenVINO, PSNR dB", way("vox-256", "int8", openvino, "psnr_db"), 30)
    own = [way("default", "int8", one, "ms") for one in (ort, openvino)]
    best = min((one for one in own if one is not None), default=None)
    reference = figures["reference"]["rows"][0]["ms"]
    line("default int8, whole step, x reference", best and reference / best, 35)
    line("default int8, whole step, fps", best and 1000 / best, 55)
    whole = figures["pipeline"]["as it ships"]["pipeline"]
    summary, change = whole["summary"], whole["avatar_change"]
    line("pipeline at 30 fps, delivered fps", summary["fps"], 29.5)
    line("frame age p50, ms", summary["age"]["p50_ms"], 25, most=True)
    line("frame age p99, ms", summary["age"]["p99_ms"], 45, most=True)
    line("first picture after the process's start, ms", whole["process_ms"], 2000, most=True)
    line("other avatar shown, ms", change and change["shown_ms"], 300, most=True)
    usual = change and change["usual_gap_ms"]
    line("longest gap then, in usual gaps", change and change["gap_ms"] / usual, 2, most=True)
    line("resident, MB", whole["memory_mb"], 400, most=True)
    return _table(["", "measured", "wanted", ""], rows)
