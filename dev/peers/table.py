"""The table that dev/bench-peers.sh ends with: what both engines measured, and how many times less Vigie needs."""

import json
import sys

ROWS = [
    ("page-count", "cpu_us_per_rec", "page-count, CPU us/record"),
    ("page-count", "rec_per_s", "page-count, records/s"),
    ("page-count", "peak_rss_kb", "page-count, memory KiB"),
    ("page-count", "first_record_s", "start to first record, s"),
    ("user-total", "cpu_us_per_rec", "user-total, CPU us/record"),
    ("user-total", "rec_per_s", "user-total, records/s"),
    ("user-total", "peak_rss_kb", "user-total, memory KiB"),
    ("restore", "startup_s", "restore of that store, s"),
    ("latency-100", "p50_ms", "latency p50, commits each 100 ms"),
    ("latency-100", "p99_ms", "latency p99, commits each 100 ms"),
    ("latency-10", "p50_ms", "latency p50, commits each 10 ms"),
    ("latency-10", "p99_ms", "latency p99, commits each 10 ms"),
]



def show(value):
    """As many digits as a reader needs."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


found = {}
for line in open(sys.argv[1], encoding="utf-8"):
    figure = json.loads(line)
    found[figure["figure"], figure["of"]] = figure

print("| | Kafka Streams | Vigie | ratio |\n| --- | --- | --- | --- |")
for name, field, title in ROWS:
    theirs = found.get((name, "kafka-streams"), {}).get(field)
    ours = found.get((name, "vigie"), {}).get(field)
    if not theirs or not ours:
        continue
    ratio = ours / theirs if field == "rec_per_s" else theirs / ours
    print(f"| {title} | {show(theirs)} | {show(ours)} | {ratio:.1f} x |")
for name in ("equal-page-count", "equal-user-total"):
    if (name, "both") in found:
        print(f"\n{name}: {found[name, 'both']['equal_keys']:,} keys, the same values in both and as counted over the input")
