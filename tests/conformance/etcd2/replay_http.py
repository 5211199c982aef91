#!/usr/bin/env python3
"""replay_http.py BASE_URL[,BASE_URL...] cases.jsonl [--topo 1|3] [--only REGEX] [--skip REGEX] [--raw] [--ignore-header H]... [--no-warm] [-v]
Replays recorded scenarios; prints diffs and 'N passed, N failed'; exit 1 on any failure.
--raw also compares the byte sequence of bodies (key order, escaping, final newline).
Scenarios whose "topo" is 3 need three client URLs, ordered by member name."""
import argparse, json, re, sys, traceback
import v2lib as L
ap = argparse.ArgumentParser()
ap.add_argument("base"); ap.add_argument("cases"); ap.add_argument("--topo", type=int)
ap.add_argument("--only"); ap.add_argument("--skip"); ap.add_argument("--raw", action="store_true"); ap.add_argument("-v", action="store_true")
ap.add_argument("--ignore-header", action="append", default=[]); ap.add_argument("--no-warm", action="store_true")
ap.add_argument("--no-quirks", action="store_true"); ap.add_argument("--summary", action="store_true")
a = ap.parse_args()
bases = [b.rstrip("/") for b in a.base.split(",")]
topo = a.topo or (3 if len(bases) > 1 else 1)
if not a.no_warm: L.warm(bases)
ok = bad = skip = 0
salt = L.salt()
for line in open(a.cases):
    c = json.loads(line)
    if (a.no_quirks and c.get("quirk")) or c["topo"] != topo or (a.only and not re.search(a.only, c["name"])) or (a.skip and re.search(a.skip, c["name"])): skip += 1; continue
    diffs = []
    try:
        ctx = L.Ctx(bases, c["name"], salt)
        for k, st in enumerate(c["steps"]):
            got, want = L.run_step(ctx, st), st.get("expect")
            if want is None or got is None: continue
            want, got = L.mask(want, a.raw), L.mask(got, a.raw)
            for e in (want, got):
                for h in a.ignore_header: e.get("headers", {}).pop(h, None)
            if not L.ttl_equal(want, got):
                diffs.append("  step %d %s %s\n    want %s\n    got  %s" % (
                    k, st.get("method", st.get("op")), st.get("path", st.get("id", "")),
                    json.dumps(want, ensure_ascii=True, sort_keys=True), json.dumps(got, ensure_ascii=True, sort_keys=True)))
    except Exception as e:
        diffs.append("  exception " + traceback.format_exc(limit=3))
    try: ctx.clean()
    except Exception: pass
    if diffs:
        bad += 1; print("FAIL %s" % c["name"])
        if not a.summary: print("\n".join(diffs))
    else:
        ok += 1
        if a.v: print("ok   %s" % c["name"])
print("%d passed, %d failed, %d skipped" % (ok, bad, skip))
sys.exit(1 if bad else 0)
