#!/usr/bin/env bash
# A backbone for a folder of your own images: check them, draw their views, pre-train.
set -euo pipefail
DATA=${DATA:?a folder of images}
OUT=${OUT:-runs/own}

massrl data check "$DATA" || echo "broken images are listed above, and skipped below"
massrl views "$DATA" --out "$OUT-views.html"
massrl pretrain --data.train "$DATA" --data.on_error skip --out "$OUT"
